# -*- test-case-name: tests.lab.test_explain -*-
"""How a connection went. A refusal that looks like a success on the wire is told as a refusal."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.findings import find_all
from mqttsecure.lab.flights import is_application
from mqttsecure.lab.model import Connection, Message, Sender, TlsFacts, Verdict
from mqttsecure.lab.tls.names import ALERTS

__all__ = ["judge"]

_CLOSE_NOTIFY: Final = 0
_NO_RENEGOTIATION: Final = 100
_HARMLESS: Final = (_CLOSE_NOTIFY, 90, _NO_RENEGOTIATION)
"""close_notify, user_canceled and no_renegotiation end nothing by force."""
_ALERT_SIZE: Final = 19
"""Bytes of an encrypted alert in TLS 1.3: two of its own, its type, and a tag of 16."""
_FINISHED_256: Final = 53
"""Bytes of an encrypted Finished in TLS 1.3: its header, the hash, its type, and a tag of 16."""
_FINISHED_384: Final = 69


def judge(connection: Connection) -> Verdict:
    """The verdict on a connection, with all that a person should look at."""
    outcome, refused, how = _Judge(connection).outcome()
    verdict = Verdict(outcome, refused, "")
    verdict.findings = find_all(connection, outcome)
    verdict.secret_visible = any(finding.key == "password_visible" for finding in verdict.findings)
    verdict.text = "; ".join(part for part in (_agreement(connection, verdict.secret_visible), how) if part)
    return verdict


def _agreement(connection: Connection, visible: bool) -> str:
    """What was agreed, in a line: version, key exchange, cipher, certificate, password."""
    facts = connection.tls
    if facts is None or facts.version is None:
        return ""
    parts = [facts.version]
    if facts.suite is not None:
        parts.append(_exchange(facts))
        parts.append(facts.suite.cipher.replace("_", "-"))
    if facts.resumed:
        parts.append(f"resumed by {facts.resumption}")
    if facts.server_certificates:
        certificate = facts.server_certificates[0]
        parts.append(f"certificate of {_common_name(certificate.subject)} from {_common_name(certificate.issuer)}")
    if any(message.field("password") is not None for message in connection.of_kind("connect")):
        parts.append("password VISIBLE" if visible else "password not visible")
    return ", ".join(parts)


def _exchange(facts: TlsFacts) -> str:
    """How the keys were agreed on."""
    exchange = facts.suite.key_exchange if facts.suite is not None else ""
    if facts.resumed and exchange != "TLS 1.3":
        return f"{exchange} of the earlier session"
    group = facts.group or ""
    if exchange == "TLS 1.3":
        exchange = "DHE" if group.startswith("ffdhe") else "hybrid" if "MLKEM" in group else "ECDHE"
        exchange = "PSK" if facts.psk_mode == "psk_ke" else exchange
    return f"{exchange} {group}".strip()


def _common_name(name: str) -> str:
    for part in name.split(","):
        if part.startswith("CN="):
            return part[3:]
    return name or "nobody"


class _Judge:
    """Looks at the messages of one connection; each question is asked once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.said = [message for message in connection.messages if message.layer != "tcp"]
        self.fatal = [message for message in self.said if self._is_fatal(message)]
        self.data = {
            sender: [each for each in self.said if each.sender == sender and is_application(each)]
            for sender in ("client", "server")
        }

    def _is_fatal(self, message: Message) -> bool:
        description = message.field("description")
        if message.kind != "alert" or not isinstance(description, int) or description in _HARMLESS:
            return False
        facts = self.connection.tls
        is_1_3 = facts is not None and (facts.version or "").startswith("TLS 1.3")
        return is_1_3 or message.field("level") == 2

    def outcome(self) -> tuple[str, bool, str]:
        """Outcome, whether nobody got through, and how it went in words."""
        facts = self.connection.tls
        if facts is None:
            return self._without_tls()
        if not any(message.kind in ("client_hello", "server_hello") for message in self.said):
            count = len(self.connection.records)
            text = (
                f"the handshake is not in the capture, which begins midway: {count} records whose keys nobody can know"
            )
            return "midstream", False, text
        if facts.handshake_complete:
            return self._complete()
        if self.fatal:
            return self._refused(self.fatal[0], "")
        return self._incomplete(facts)

    def _without_tls(self) -> tuple[str, bool, str]:
        connection = self.connection
        if connection.protocol == "mqtt":
            version = connection.mqtt_version or "MQTT"
            text = f"NO TLS: {version} in the clear, whoever is on the way reads and changes everything"
            refused = self._refused_by_broker()
            return "plaintext", refused is not None, text + (f"; {refused}" if refused else "")
        if connection.protocol == "empty":
            if connection.tcp.reset_by == "server" and connection.tcp.syn_ack is None:
                return (
                    "aborted",
                    True,
                    "the server refused the TCP connection: nothing listens there, or a firewall resets",
                )
            if connection.tcp.syn_ack is None:
                return "aborted", True, "nobody answered the SYN: the host is not there, or a firewall drops it"
            return "unknown", False, "a TCP connection on which nobody said a byte"
        return "unknown", False, "neither TLS nor MQTT"

    def _refused_by_broker(self) -> str | None:
        for message in self.connection.of_kind("connack"):
            if message.field("reason_code"):
                return f"the broker refused the CONNECT: {message.value}"
        return None

    def _refused(self, alert: Message, after: str) -> tuple[str, bool, str]:
        description = alert.field("description")
        name = ALERTS.get(description, str(description)) if isinstance(description, int) else "unknown"
        meaning = next((each.meaning for each in alert.fields if each.name == "description"), "")
        text = f"REFUSED by the {alert.sender}{after}: alert {name}" + (f" ({meaning})" if meaning else "")
        return f"refused_by_{alert.sender}", True, text

    def _complete(self) -> tuple[str, bool, str]:
        fatal = self.fatal[0] if self.fatal else None
        if not self.data["client"]:
            return self._no_data(fatal)
        if fatal is not None and not self.data["server"]:
            _outcome, refused, text = self._refused(fatal, " after a complete handshake, before it answered any data")
            return "completed_refused", refused, text
        refusal = self._refused_by_broker()
        if refusal is not None:
            return "completed", True, f"handshake completed, {refusal}"
        if self.data["server"]:
            return "completed", False, "handshake completed, data exchanged"
        if self._left("server"):
            text = "handshake completed, the server left without an answer to the client's data: a REFUSAL"
            return "completed_refused", True, text
        return "completed", False, "handshake completed, the client's data was not answered"

    def _no_data(self, fatal: Message | None) -> tuple[str, bool, str]:
        if fatal is not None and any(each.field("description") == _NO_RENEGOTIATION for each in self.said):
            return "completed", False, f"handshake completed; another one was refused, and the {fatal.sender} gave up"
        if fatal is not None:
            _outcome, refused, text = self._refused(fatal, " after a complete handshake")
            return "completed_refused" if fatal.sender == "server" else "refused_by_client", refused, text
        sized = self._by_sizes()
        if sized is not None:
            return sized
        if self._left("client"):
            text = "handshake completed, the client left without sending data: a REFUSAL that looks like a success"
            return "completed_left", True, text + self._reason()
        if self._left("server"):
            return (
                "completed_left",
                True,
                "handshake completed, the server left before any data: a REFUSAL without a reason",
            )
        return "incomplete", False, "handshake completed, no data until the end of the capture"

    def _reason(self) -> str:
        """What the client most probably did not like."""
        bad = [check for check in self.connection.checks if check.key.startswith("certificate_")]
        wrong = [check.text for check in bad if check.outcome.value == "bad"]
        return f" (most probably because of the certificate: {wrong[0]})" if wrong else ""

    def _left(self, sender: Sender) -> bool:
        tcp = self.connection.tcp
        return tcp.closed_by == sender or (tcp.closed_by is None and tcp.reset_by == sender)

    def _by_sizes(self) -> tuple[str, bool, str] | None:
        """TLS 1.3 without keys: sizes alone tell whether data followed; None where keys are there."""
        facts = self.connection.tls
        if facts is None or facts.key_log.records_decrypted or not (facts.version or "").startswith("TLS 1.3"):
            return None
        client = [each.length for each in self.said if each.kind == "encrypted_record" and each.sender == "client"]
        after = self._after_client_finished()
        if self._data_by_sizes([size for size in client if size != _ALERT_SIZE]):
            if after and all(size == _ALERT_SIZE for size in after) and self._left("server"):
                text = "the server answered with a record as small as an alert and left: most probably a REFUSAL"
                return "completed_refused", True, f"handshake completed, as far as sizes tell; {text}"
            return (
                "completed",
                False,
                "handshake completed and data exchanged, as far as sizes tell; no keys, so no more is known",
            )
        if self._left("client"):
            text = "handshake completed, as far as sizes tell; the client left without sending data: a REFUSAL"
            return "completed_left", True, f"{text} that looks like a success on the wire"
        return None

    def _data_by_sizes(self, sizes: list[int]) -> bool:
        """Whether the client sent more than its Finished, which may have a certificate before it."""
        facts = self.connection.tls
        is_384 = facts is not None and facts.suite is not None and facts.suite.hash == "SHA-384"
        finished = _FINISHED_384 if is_384 else _FINISHED_256
        if sizes[:1] == [finished]:
            return len(sizes) > 1
        return sizes[-1:] != [finished]

    def _after_client_finished(self) -> list[int]:
        """Sizes of the server's records after the client's first encrypted one."""
        sizes: list[int] = []
        answered = False
        for message in self.said:
            if message.kind == "encrypted_record":
                if message.sender == "client":
                    answered = True
                elif answered:
                    sizes.append(message.length)
        return sizes

    def _lost(self) -> str | None:
        """What of the conversation is not in the capture, so that nobody can say how it went."""
        tcp = self.connection.tcp
        for sender, other in (("client", "server"), ("server", "client")):
            if tcp.starts_midway[sender] and not tcp.bytes[sender]:
                return f"only what the {other} sent is in the capture: capture both directions"
        for sender in ("client", "server"):
            if tcp.missing[sender] or tcp.starts_midway[sender]:
                return f"the handshake is not whole in the capture: bytes of the {sender} are missing"
        return None

    def _incomplete(self, facts: TlsFacts) -> tuple[str, bool, str]:
        lost = self._lost()
        if lost is not None:
            return "incomplete", False, lost
        closed = [each for each in self.said if each.kind == "encrypted_record" and each.sender == "client"]
        if closed and facts.version is not None and facts.version.startswith("TLS 1.3"):
            text = (
                f"the client answered the server's encrypted flight with {closed[0].length} bytes, "
                "as small as an alert: most probably it REFUSED the certificate"
            )
            return "refused_by_client", True, text
        where = f"after {self.said[-1].name} of the {self.said[-1].sender}"
        ends: tuple[Sender, ...] = ("client", "server")
        for sender in ends:
            if self._left(sender):
                return "aborted", True, f"the {sender} broke the handshake off {where}, without an alert"
        return "incomplete", False, f"the capture ends in the middle of the handshake, {where}"
