# -*- test-case-name: tests.cli.test_client_exit -*-
"""How ``pub`` and ``sub`` end: one exit code for each kind of trouble, so that a script knows what to do next."""

from __future__ import annotations

from typing import Final

from mqttsecure.cli.output import EXIT_PROBLEMS, EXIT_USAGE
from mqttsecure.client.failures import (
    AddressInvalid,
    AuthenticationFailed,
    BrokerFault,
    CertificateRefused,
    ClientError,
    ConnectionLost,
    ConnectRefused,
    Disconnected,
    NotSupported,
    OptionsInvalid,
    PublishRefused,
    SessionLost,
    SubscribeRefused,
    TlsFailed,
    Unreachable,
)

__all__ = ["EXIT_BROKEN_PIPE", "EXIT_CODES_HELP", "EXIT_INTERRUPTED", "EXIT_TIME_IS_UP", "exit_code_of"]

EXIT_NO_CONNECTION: Final = 3
EXIT_TLS: Final = 4
EXIT_NOT_LET_IN: Final = 5
EXIT_TRY_LATER: Final = 6
EXIT_REFUSED: Final = 7
EXIT_ENDED_BY_BROKER: Final = 8
EXIT_TIME_IS_UP: Final = 9
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141
"""As a shell shows it for a program that SIGPIPE has ended: 128 and the signal."""

EXIT_CODES_HELP: Final = (
    "Exit codes: 0 done, 1 a file or option cannot be used, 2 the command line makes no sense, 3 no connection, or it "
    "was lost for good, 4 TLS: a certificate was refused, here or by the broker, 5 the broker does not let us in, 6 it "
    "is busy: try again later, 7 it refused a message or a subscription, 8 it ended the connection or broke the "
    "protocol, 9 the time of --wait is over, 130 Ctrl-C, 141 nobody reads stdout any more, 143 SIGTERM."
)

_CODES: Final[tuple[tuple[type[ClientError], int], ...]] = (
    (AddressInvalid, EXIT_USAGE),
    (OptionsInvalid, EXIT_PROBLEMS),
    (CertificateRefused, EXIT_TLS),
    (TlsFailed, EXIT_TLS),
    (Unreachable, EXIT_NO_CONNECTION),
    (ConnectionLost, EXIT_NO_CONNECTION),
    (AuthenticationFailed, EXIT_NOT_LET_IN),
    (PublishRefused, EXIT_REFUSED),
    (SubscribeRefused, EXIT_REFUSED),
    (NotSupported, EXIT_REFUSED),
    (SessionLost, EXIT_REFUSED),
    (Disconnected, EXIT_ENDED_BY_BROKER),
    (BrokerFault, EXIT_ENDED_BY_BROKER),
)


def exit_code_of(error: ClientError) -> int:
    """The exit code for what ended a client."""
    if isinstance(error, ConnectRefused):
        return EXIT_TRY_LATER if error.transient else EXIT_NOT_LET_IN
    return next((code for kind, code in _CODES if isinstance(error, kind)), EXIT_PROBLEMS)
