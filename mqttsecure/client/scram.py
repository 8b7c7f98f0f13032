# -*- test-case-name: tests.client.test_scram -*-
"""A password that is proved and not sent: SCRAM-SHA-256 as a client's authenticator."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Final

from mqttsecure.client.failures import OptionsInvalid
from mqttsecure.wire.scram import METHOD, METHOD_PLUS, ScramClient, ScramError, prepare

__all__ = ["ScramAuthenticator"]

_NONCE_BYTES: Final = 18


class ScramAuthenticator:
    """Give it to :class:`~mqttsecure.client.options.ClientOptions`, and no password beside it.

    Over TLS 1.3 it binds the exchange to the connection (``SCRAM-SHA-256-PLUS``): a broker that passes it on to another
    is found out. A broker that does not prove to know the password is not believed either.
    """

    def __init__(
        self,
        username: str,
        password: str,
        *,
        binds: bool = True,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """
        Args:
            username: as the broker knows it.
            password: of that user.
            binds: False for brokers that know ``SCRAM-SHA-256`` alone.
            random_bytes: unpredictable bytes.

        Raises:
            OptionsInvalid: the name or password has characters that none may have.
        """
        self._username = username
        self._password = password
        self._binds = binds
        self._random_bytes = random_bytes
        self._channel_binding: bytes | None = None
        self._exchange: ScramClient | None = None
        try:
            prepare(username)
            prepare(password)
        except ScramError as error:
            raise OptionsInvalid(f"SCRAM cannot be used: {error}", "choose another user name or password") from error

    def __repr__(self) -> str:
        return f"<SCRAM for {self._username!r}>"

    @property
    def method(self) -> str:
        """With or without channel binding, as the connection has one."""
        return METHOD if self._channel_binding is None else METHOD_PLUS

    def bind(self, channel_binding: bytes | None) -> None:
        """A new connection, and what both ends alone know of it."""
        self._channel_binding = channel_binding if self._binds else None

    def start(self) -> bytes:
        """The first message."""
        nonce = base64.b64encode(self._random_bytes(_NONCE_BYTES))
        self._exchange = ScramClient(self._username, self._password, nonce, self._channel_binding)
        return self._exchange.first()

    def respond(self, data: bytes | None) -> bytes:
        """The proof; takes tens of milliseconds."""
        return self._under_way().final(data or b"")

    def finish(self, data: bytes | None) -> None:
        """Whether the broker knows the password, too."""
        exchange, self._exchange = self._under_way(), None
        exchange.check(data)

    def _under_way(self) -> ScramClient:
        if self._exchange is None:
            raise ScramError("there is no exchange under way")
        return self._exchange
