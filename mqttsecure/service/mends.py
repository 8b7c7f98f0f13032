# -*- test-case-name: tests.service.test_findings -*-
"""What helps against what: for the ends of connections, failed handshakes and denials that the audit log holds."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

from mqttsecure.service.config import BrokerConfig, PolicyConfig
from mqttsecure.wire.constants import ReasonCode

__all__ = ["mend_of_ban", "mend_of_block", "mend_of_denial", "mend_of_disconnect", "mend_of_drop", "mend_of_tls"]

Record = Mapping[str, Any]

_TLS: Final = (
    (
        r"unknown ca",
        "the client does not trust the CA of the broker: give it that CA's certificate as its trust anchor",
    ),
    (
        r"alert (bad certificate|certificate unknown)|certificate unknown",
        "the client does not accept the broker's certificate: the name or address it connects to must be in the "
        "certificate's SAN, and its clock must be right",
    ),
    (
        r"alert certificate expired",
        "the client takes the broker's certificate for expired: renew it, and look at the client's clock",
    ),
    (
        r"did not return a certificate",
        "the client shows no certificate, and the listener demands one: give it certificate and key, or set "
        '`client_certificate = "optional"`',
    ),
    (
        r"certificate verify failed|certificate has expired|unable to get local issuer|self.signed",
        "the client's certificate is not taken: issue a new one by a CA of the listener's `authorities`, "
        "and see its `expires`",
    ),
    (
        r"no shared cipher|no suitable|inappropriate fallback",
        "client and broker share no cipher suite: update the client, or set `legacy_ciphers = true` for old devices",
    ),
    (
        r"unsupported protocol|version too low|protocol version",
        "the client speaks only a TLS version that is not taken: let it speak TLS 1.2 or 1.3",
    ),
    (
        r"http request|wrong version number|unknown protocol|packet length too long|record layer",
        "the client does not speak TLS here: switch TLS on in the client, or let it use a listener without",
    ),
    (r"no cipher match|illegal parameter|decode error|unexpected", "the client's TLS is broken, or it is a scanner"),
)
"""OpenSSL's words, the first that fits; the alerts are what the client has said."""

_ENDS: Final = {
    ReasonCode.KEEP_ALIVE_TIMEOUT: "the network is gone, or the client sleeps: a longer Keep Alive, or PINGREQ in time",
    ReasonCode.SESSION_TAKEN_OVER: (
        "two clients use one Client Identifier, or the client reconnects before it has closed: give each its own"
    ),
    ReasonCode.PACKET_TOO_LARGE: "send less at once, or raise `maximum_packet_size` of [limits]",
    ReasonCode.MALFORMED_PACKET: "the client sends what is not MQTT: update its library",
    ReasonCode.PROTOCOL_ERROR: "the client breaks the protocol: update its library",
    ReasonCode.QUOTA_EXCEEDED: (
        "the client takes too slowly what is sent to it, or sends before it may: subscribe to less, or raise "
        "`outbox_bytes` and `slow_reader_patience` of [limits]"
    ),
    ReasonCode.RECEIVE_MAXIMUM_EXCEEDED: "the client ignores the Receive Maximum of CONNACK: update its library",
    ReasonCode.ADMINISTRATIVE_ACTION: "an administrator has done it; the client may come back",
    ReasonCode.SERVER_SHUTTING_DOWN: "the broker was stopped; clients come back by themselves",
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: "let the client speak MQTT 3.1, 3.1.1 or 5.0",
    ReasonCode.NOT_AUTHORIZED: "see the denials, and `mqttsecure explain`",
}


def mend_of_tls(record: Record) -> str:
    """Against a failed TLS handshake."""
    text = str(record.get("text", ""))
    for pattern, mend in _TLS:
        if re.search(pattern, text, re.IGNORECASE):
            return mend
    return "try `openssl s_client -connect HOST:PORT` from where the client is"


def mend_of_disconnect(record: Record) -> str:
    """Against the end of a connection."""
    code = int(record.get("reason_code", 0))
    if not code:
        return "the network or the client broke it off without a word: look at the client, and at what is between"
    if record.get("by_peer"):
        return "the client itself ended it with this Reason Code: look at its log"
    return _ENDS.get(ReasonCode(code) if code in _CODES else ReasonCode.UNSPECIFIED_ERROR, "see the log of that time")


_CODES: Final = {int(code) for code in ReasonCode}


def mend_of_drop(record: Record) -> str:
    """Against messages that were lost for a client."""
    text = str(record.get("text", ""))
    if "too slowly" in text:
        return "let it subscribe to less or read faster, or raise `outbox_bytes` of [limits]; QoS 1 is not dropped so"
    if "larger than its" in text:
        return "the client announced a Maximum Packet Size below the message: raise it there, or send less at once"
    if "verdicts" in text:
        return "a policy answers DELIVER too slowly: see `mqttsecure status`, and `timeout_ms` of that policy"
    return (
        "the client is away or reads too slowly: raise `maximum_queued_bytes` and `maximum_queued_messages` of [limits]"
    )


def mend_of_denial(record: Record, config: BrokerConfig) -> str:
    """Against a denial, where no rule to add is known."""
    policy = next((each for each in config.policies if each.id == record.get("policy")), None)
    if record.get("indeterminate"):
        return f"the policy {record.get('policy')} failed, and that is enforced as a denial: the log has the traceback"
    if policy is None:
        return _default_mend(record, config)
    use = policy.use.rpartition(":")[2]
    mend = _BY_USE.get(use)
    return mend(record, policy, config) if mend is not None else f"see {record.get('text') or use} at {policy.source}"


def _default_mend(record: Record, config: BrokerConfig) -> str:
    if record.get("stage") == "ACCEPT":
        places = [str(each.source) for each in config.policies if each.use.endswith("ip-allowlist")]
        return f"add the address to `permit` of the ip-allowlist ({', '.join(places) or 'there is none'})"
    if record.get("stage") == "AUTHENTICATE":
        return (
            "the client showed no credentials that a policy here knows: a user name with a password, or a certificate"
        )
    return "add a rule that permits it"


def _addresses(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    return f"narrow `deny` of {policy.id} ({policy.source}), or let the client come from elsewhere"


def _connections(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    key = str(record.get("rule") or "rate").rpartition(".")[2]
    return (
        f"keep the client from reconnecting without a pause; where many come from one address raise `{key}` of "
        f"{policy.id} ({policy.source}), or give that prefix an entry in `overrides`"
    )


def _handshake(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    if record.get("rule") == "plaintext":
        return "let the client use TLS"
    return f"let the client meet it, or change `{record.get('rule') or 'the demand'}` of {policy.id} ({policy.source})"


def _certificate(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    return (
        f"issue the client a certificate that is taken, or change `known` or `denied` of {policy.id} ({policy.source})"
    )


def _password(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    authority = policy.options.get("authority")
    files = [each.password_file for each in config.authorities if each.name == authority and each.password_file]
    file = str(files[0]) if files else "FILE"
    name = str(record.get("username", ""))
    user = name if re.fullmatch(r"[A-Za-z0-9_.@+-]+", name) else "USER"
    if "no such user" in str(record.get("text", "")):
        return f"correct the user name, or add the user: mqttsecure passwd {file} {user}"
    return f"correct the password in the client, or set a new one: mqttsecure passwd {file} {user}"


def _client_id(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    patterns = policy.options.get("patterns")
    fits = f"{', '.join(map(str, patterns))}" if isinstance(patterns, list) else "its patterns"
    where = f"{policy.id} ({policy.source})"
    return f"let the client use a Client Identifier that fits {fits}, or add to `patterns` of {where}"


def _anonymous(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    return "let the client show credentials"


def _rate(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    return f"let the client send less, or raise the rate of {policy.id} ({policy.source})"


def _topics(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    return f"narrow or remove {record.get('rule') or 'the deny rule'} of {policy.id}"


def _ban(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    address = str(record.get("peer", "")).rpartition(":")[0].strip("[]")
    return mend_of_ban(address, "wait" if record.get("rule") == "wait" else "ban", config)


def mend_of_ban(address: str, kind: str, config: BrokerConfig) -> str:
    """Against a ban of an address or prefix, or a wait of a client there."""
    command = f"mqttsecure bans remove {shlex.quote(address)} --config {shlex.quote(str(config.path))}"
    if kind == "wait":
        return f"mend what it fails at (below, or in the log), and let it wait; to let it try at once: {command}"
    return f"mend what it was banned for (below, or in the log), then lift it: {command}"


def _block(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    kind = "user" if record.get("rule") == "user" else "client"
    return mend_of_block(kind, str(record.get("principal" if kind == "user" else "client_id", "")), config)


def mend_of_block(kind: str, name: str, config: BrokerConfig) -> str:
    """Against a block of a client or user by hand."""
    whom = shlex.quote(name) if name.isprintable() and name else "NAME"
    option = "--user " if kind == "user" else ""
    return (
        "somebody has blocked it by hand; to let it in again: "
        f"mqttsecure clients unblock {option}{whom} --config {shlex.quote(str(config.path))}"
    )


def _scram(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    if record.get("rule") == "channel_binding":
        return f"let the client speak TLS 1.3 and SCRAM-SHA-256-PLUS, or change `channel_binding` of {policy.source}"
    if record.get("rule") == "proof":
        return f"{_password(record, policy, config)} --scram"
    return "see the text: the client does not carry out SCRAM as RFC 7677 has it"


def _token(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    if record.get("rule") == "exp":
        return "let the client fetch a new token before the old one expires, and look at both clocks"
    return f"let the issuer give the client a token that is taken, or change {policy.id} ({policy.source})"


def _service(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    if record.get("rule") == "service":
        return f"look at the service of {policy.id} ({policy.source}): it does not answer as it should"
    return f"ask whoever runs the service of {policy.id} ({policy.source}): it has decided so"


def _quota(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    key = record.get("rule") or "its limits"
    return (
        f"let the user hold less (mqttsecure clients list shows its sessions), or raise `{key}` of {policy.id} "
        f"({policy.source})"
    )


def _payload(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    key = record.get("rule") or "its demands"
    return f"let the client send what is wanted, or change `{key}` of {policy.id} ({policy.source})"


def _schedule(record: Record, policy: PolicyConfig, config: BrokerConfig) -> str:
    return f"come within its hours, or change them: {policy.id} ({policy.source})"


_BY_USE: Final[dict[str, Callable[[Record, PolicyConfig, BrokerConfig], str]]] = {
    "ip-allowlist": _addresses,
    "connection-limit": _connections,
    "tls-requirements": _handshake,
    "client-certificate": _certificate,
    "password-file": _password,
    "client-id": _client_id,
    "anonymous": _anonymous,
    "rate-limit": _rate,
    "topic-acl": _topics,
    "ban": _ban,
    "block-list": _block,
    "scram": _scram,
    "jwt": _token,
    "http": _service,
    "quota": _quota,
    "payload": _payload,
    "schedule": _schedule,
}
