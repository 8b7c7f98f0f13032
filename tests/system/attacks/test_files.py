# -*- test-case-name: tests.system.attacks.test_files -*-
"""Bad files: whatever is missing, empty, broken or open to others refuses the start, and is told with its place."""

from __future__ import annotations

import datetime
import os
import re
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.packets import Connect
from tests.support.config import ALICE_PASSWORD, BrokerFiles, write_config
from tests.support.process import BrokerProcess
from tests.system.attacks.case import wait_until
from tests.system.attacks.client import AttackClient

_STARTED: Final = 2
"""Cases of each table that a broker is really started with; ``mqttsecure check`` tries all."""

_Break = Callable[[Path], object]


def _write(name: str, content: bytes) -> _Break:
    return lambda directory: (directory / name).write_bytes(content)


def _remove(name: str) -> _Break:
    return lambda directory: (directory / name).unlink()


def _halve(name: str) -> _Break:
    def halve(directory: Path) -> None:
        content = (directory / name).read_bytes()
        (directory / name).write_bytes(content[: len(content) // 2])

    return halve


def _open_to_others(name: str) -> _Break:
    return lambda directory: (directory / name).chmod(0o644)


def _unreadable(name: str) -> _Break:
    return lambda directory: (directory / name).chmod(0)


def _folder(name: str) -> _Break:
    def replace(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).mkdir()

    return replace


def _loop(name: str) -> _Break:
    def replace(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).symlink_to(directory / name)

    return replace


def _pipe(name: str) -> _Break:
    def replace(directory: Path) -> None:
        (directory / name).unlink()
        os.mkfifo(directory / name, 0o600)

    return replace


def _in_config(old: str, new: str) -> _Break:
    def change(directory: Path) -> None:
        text = (directory / "broker.toml").read_text()
        assert old in text, old
        (directory / "broker.toml").write_text(text.replace(old, new, 1))

    return change


def _with_rules_file(content: bytes | None, mode: int = 0o600) -> _Break:
    def change(directory: Path) -> None:
        text = (directory / "broker.toml").read_text()
        start = text.index("rules = [")
        (directory / "broker.toml").write_text(text[:start] + 'rules_file = "rules"\n')
        if content is not None:
            (directory / "rules").write_bytes(content)
            (directory / "rules").chmod(mode)

    return change


def _with_crl(content: Callable[[], bytes] | None) -> _Break:
    def change(directory: Path) -> None:
        _in_config('ca = ["ca.pem"]', 'ca = ["ca.pem"]\ncrl = ["lab.crl"]')(directory)
        if content is not None:
            (directory / "lab.crl").write_bytes(content())

    return change


def _with_plugin(source: str, mode: int = 0o600) -> _Break:
    def change(directory: Path) -> None:
        folder = directory / "plugins"
        folder.mkdir()
        (folder / "mine.py").write_text(source)
        (folder / "mine.py").chmod(mode)
        text = (directory / "broker.toml").read_text()
        text = text.replace(
            '[[policy]]\nid = "topics"', '[[policy]]\nid = "mine"\nuse = "local:mine"\n\n[[policy]]\nid = "topics"'
        )
        (directory / "broker.toml").write_text(text + '\n[plugins]\npath = ["plugins"]\n')

    return change


def _foreign_crl() -> bytes:
    """A revocation list of some other CA, signed by it."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "someone else")]),
        last_update=now - datetime.timedelta(days=2),
        next_update=now + datetime.timedelta(days=2),
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _expired_crl(files: BrokerFiles) -> bytes:
    """A revocation list of the broker's CA whose next update was due yesterday."""
    key = load_pem_private_key(files.certificate_authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    ca = x509.load_pem_x509_certificate(files.ca.read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=ca.subject,
        last_update=now - datetime.timedelta(days=3),
        next_update=now - datetime.timedelta(days=1),
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


_CREDENTIALS: Final[dict[str, tuple[_Break, str]]] = {
    "users missing": (_remove("users"), r"users"),
    "users empty": (_write("users", b""), r"users.*(no user|empty)"),
    "users only comments": (_write("users", b"# nobody\n\n"), r"users.*no user"),
    "users garbage": (_write("users", os.urandom(300)), r"users"),
    "users without hash": (_write("users", b"alice\n"), r"users:1"),
    "users with a plain password": (_write("users", b"alice:secret\n"), r"users:1"),
    "users with an empty hash": (_write("users", b"alice:\n"), r"users:1"),
    "users with an unknown hash": (_write("users", b"alice:$1$abc$def\n"), r"users:1"),
    "users half written": (_write("users", b"alice:$argon2id$v=19$m=19456,t=2,p"), r"users:1"),
    "users readable by others": (_open_to_others("users"), r"users.*(chmod|others)"),
    "users a folder": (_folder("users"), r"users"),
    "users a pipe": (_pipe("users"), r"users"),
    "users a link to itself": (_loop("users"), r"users"),
}
_CERTIFICATES: Final[dict[str, tuple[_Break, str]]] = {
    "certificate missing": (_remove("server.pem"), r"server\.pem"),
    "certificate garbage": (_write("server.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n"), r"server\.pem"),
    "key missing": (_remove("server.key"), r"server\.key"),
    "key empty": (_write("server.key", b""), r"server\.key"),
    "key readable by others": (_open_to_others("server.key"), r"server\.key.*(chmod|others)"),
    "key of another": (lambda directory: _swap_key(directory), r"server\.key is not the key"),
    "CA missing": (_remove("ca.pem"), r"ca\.pem"),
    "CA empty": (_write("ca.pem", b""), r"ca\.pem"),
    "CA half written": (_halve("ca.pem"), r"ca\.pem"),
    "CA a folder": (_folder("ca.pem"), r"ca\.pem"),
    "CRL missing": (_with_crl(None), r"lab\.crl"),
    "CRL empty": (_with_crl(lambda: b""), r"lab\.crl"),
    "CRL garbage": (_with_crl(lambda: b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), r"lab\.crl"),
}
_RULES: Final[dict[str, tuple[_Break, str]]] = {
    "rules missing": (_with_rules_file(None), r"rules"),
    "rules empty": (_with_rules_file(b""), r"rules"),
    "rules half written": (_with_rules_file(b"permit user:alice read lab/#\npermit user:bo"), r"rules:2"),
    "rules garbage": (_with_rules_file(b"\xff\xfe\x00rubbish"), r"rules"),
    "rules with a bad filter": (_with_rules_file(b"permit everyone read lab/#/x\n"), r"rules:1"),
    "rules with a misspelt word": (_with_rules_file(b"\nallow everyone read lab/#\n"), r"rules:2"),
    "rules writable by others": (_with_rules_file(b"permit everyone read lab/#\n", 0o666), r"rules.*(chmod|others)"),
}
_CONFIGURATION: Final[dict[str, tuple[_Break, str]]] = {
    "config empty": (_write("broker.toml", b""), r"broker\.toml"),
    "config garbage": (_write("broker.toml", b"\xff\xfe\x00"), r"broker\.toml"),
    "config half written": (_halve("broker.toml"), r"broker\.toml"),
    "config no TOML": (_in_config("[[authority]]", "[[authority"), r"broker\.toml:\d+"),
    "config a folder": (_folder("broker.toml"), r"broker\.toml"),
    "config misspelt key": (_in_config("permit = [", "permitt = ["), r"broker\.toml:\d+.*permit"),
    "config bad network": (_in_config("127.0.0.0/8", "127.0.0.0/33"), r"broker\.toml:\d+"),
    "config unknown policy": (_in_config('use = "topic-acl"', 'use = "topic-alc"'), r"broker\.toml:\d+.*topic-acl"),
    "config without identity": (
        _in_config('use = "password-file"\nauthority = "lab"', 'use = "anonymous"\naddresses = []'),
        r"broker\.toml:\d+",
    ),
    "config without ACCEPT": (
        _in_config('use = "ip-allowlist"\npermit = ["127.0.0.0/8", "::1"]', 'use = "connection-limit"'),
        r"ACCEPT",
    ),
    "plugin that raises at import": (
        _with_plugin("import mqttsecure\nraise RuntimeError('broken at import')\n"),
        r"broken at import",
    ),
    "plugin with a syntax error": (_with_plugin("def mqttsecure(:\n"), r"mine\.py"),
    "plugin that is no plugin": (_with_plugin("x = 1\n"), r"local:mine"),
    "plugin writable by others": (_with_plugin("import mqttsecure\n", 0o666), r"mine\.py.*chmod"),
}


def _swap_key(directory: Path) -> None:
    other = directory / "other"
    other.mkdir()
    (directory / "server.key").write_bytes((write_config(other).config.parent / "server.key").read_bytes())


class BadFileTests(SynchronousTestCase):
    """One file is bad, the rest is as it should be; the broker must not start, least of all without that file."""

    def _refuse_all(self, cases: dict[str, tuple[_Break, str]]) -> None:
        """Start brokers with the first cases, and ask ``mqttsecure check``, which does the same, about all."""
        faults = []
        started = []
        for name, (breaks, expected) in list(cases.items())[:_STARTED]:
            broker = BrokerProcess(self._files(breaks).config, self._last)
            self.addCleanup(broker.kill)
            broker.spawn()
            started.append((name, broker, expected))
        for name, (breaks, expected) in cases.items():
            result = CliRunner().invoke(main, ["check", str(self._files(breaks).config)])
            faults.append(
                (name, "no problem" if result.exit_code == 0 else self._silence(name, result.output, expected))
            )
        faults += [(name, self._fault(name, broker, expected)) for name, broker, expected in started]
        self.assertEqual([], [(name, fault) for name, fault in faults if fault])

    def _files(self, breaks: _Break) -> BrokerFiles:
        self._last = Path(self.mktemp()).absolute()
        self._last.mkdir(parents=True)
        files = write_config(self._last)
        breaks(self._last)
        return files

    def _fault(self, name: str, broker: BrokerProcess, expected: str) -> str:
        """What is wrong with how the broker took the bad file; "" where it refused to start as it should."""
        wait_until(lambda: broker.has_ended or "listening on" in broker.log, "an end or a beginning", 20)
        if "listening on" in broker.log:
            return "the broker serves"
        if broker.wait() == 0:
            return "exit code 0"
        return self._silence(name, broker.log, expected)

    @staticmethod
    def _silence(name: str, log: str, expected: str) -> str:
        """What is not said in ``log`` and should be."""
        if not re.search(expected, log) or "broker.toml" not in log:
            return f"the log does not say what is wrong and where: {log}"
        if "plugin" not in name and "Traceback" in log:
            return f"a traceback: {log}"
        return ""

    def test_credentials(self) -> None:
        """A password file that is missing, empty, broken, half written or open to others."""
        self._refuse_all(_CREDENTIALS)

    def test_certificates(self) -> None:
        """Certificates, keys, CA files and revocation lists."""
        self._refuse_all(_CERTIFICATES)

    def test_rules(self) -> None:
        """Files of topic rules, with the line that is wrong."""
        self._refuse_all(_RULES)

    def test_configuration(self) -> None:
        """The configuration itself, and single-file policies."""
        self._refuse_all(_CONFIGURATION)

    def test_revocation_list_that_does_not_count(self) -> None:
        """An expired list, or one of another CA, is as good as none: certificates are refused, and it is told why."""
        for content, why in ((_expired_crl, "has expired"), (lambda files: _foreign_crl(), "is missing")):
            directory = Path(self.mktemp()).absolute()
            directory.mkdir(parents=True)
            files = write_config(directory)
            _with_crl(lambda content=content, files=files: content(files))(directory)
            broker = BrokerProcess(files.config, directory)
            self.addCleanup(broker.kill)
            broker.start()
            self.assertRegex(broker.log, r"broker\.toml:\d+: .*no current revocation list")
            context = files.client_context(files.issue("alice"))
            with AttackClient(broker.ports["tls"], context=context) as client:
                client.send(Connect(MQTT_5_0, "a"))
                self.assertEqual([], client.remaining())
            wait_until(lambda broker=broker, why=why: why in broker.log, f"{why} in the log")
            self.assertIn("denied HANDSHAKE", broker.log)
            broker.kill()

    def test_unreadable_files(self) -> None:
        """A file that the broker's user may not read; root may read all, so root cannot try this."""
        if os.geteuid() == 0:
            return
        names = ("users", "server.key", "server.pem", "ca.pem", "broker.toml")
        self._refuse_all({name: (_unreadable(name), re.escape(name)) for name in names})

    def test_file_lost_while_running(self) -> None:
        """Files that break while the broker runs change nothing: it keeps what it has read."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        files = write_config(directory)
        broker = BrokerProcess(files.config, directory)
        self.addCleanup(broker.kill)
        broker.start()
        for name in ("users", "server.key", "server.pem", "ca.pem", "broker.toml"):
            (directory / name).write_bytes(b"")
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        files.certificate_authority.configure_trust(trusted)
        with AttackClient(broker.ports["tls"], context=trusted) as client:
            self.assertEqual(0, client.connect("a", "alice", ALICE_PASSWORD))
            self.assertEqual([0x87], client.subscribe("secret/#"))
        with AttackClient(broker.ports["tls"], context=trusted) as client:
            self.assertNotEqual(0, client.connect("b", "bob", ""))
        broker.signal(signal.SIGTERM)
        self.assertEqual(0, broker.wait())
