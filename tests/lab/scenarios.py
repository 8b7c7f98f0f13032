"""Handshakes of all kinds, each made by real ends: what the tests read, and compare with what tshark reads."""

from __future__ import annotations

import base64
import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from mqttsecure.lab.tls.ffdhe import prime_of
from tests.lab.authority import credential, root
from tests.lab.relay import Step, converse
from tests.lab.traffic import Recording, Setup, mqtt, talk

__all__ = ["IN_MEMORY", "OPENSSL", "recording_of"]

_12: Final = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
_13: Final = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)
_NO_EXTENDED_MASTER_SECRET: Final = 1
_NO_ENCRYPT_THEN_MAC: Final = 1 << 19
_ANY: Final = b":@SECLEVEL=0"


def _with_suite(suite: bytes, kind: str = "p256", options: int = 0) -> Callable[[], Recording]:
    return lambda: talk(Setup(versions=_12, suites=suite + _ANY, server=credential(kind=kind), options=options))


def _with_key(versions: tuple[int, int], kind: str) -> Callable[[], Recording]:
    return lambda: talk(Setup(versions=versions, server=credential(kind=kind)))


def _resumed(versions: tuple[int, int], options: int = 0) -> Callable[[], Recording]:
    def make() -> Recording:
        first = talk(Setup(versions=versions, options=options))
        return talk(Setup(versions=versions, options=options, resume=first))

    return make


def _other_group(client: SSL.Context, server: SSL.Context) -> None:
    server.set_tmp_ecdh(ec.SECP521R1())


def _der_integer(value: int) -> bytes:
    body = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + _der_length(len(body)) + body


def _der_length(length: int) -> bytes:
    return bytes((length,)) if length < 128 else b"\x82" + length.to_bytes(2, "big")


def _finite_field() -> Recording:
    numbers = _der_integer(prime_of("ffdhe2048")) + _der_integer(2)
    der = b"\x30" + _der_length(len(numbers)) + numbers
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"-----BEGIN DH PARAMETERS-----\n" + base64.encodebytes(der) + b"-----END DH PARAMETERS-----\n")
        file.flush()
        setup = Setup(
            versions=_12,
            suites=b"DHE-RSA-AES128-GCM-SHA256",
            server=credential(kind="rsa"),
            change=lambda client, server: server.load_tmp_dh(file.name.encode()),
        )
        return talk(setup)


def _renegotiated(client: SSL.Connection, server: SSL.Connection) -> None:
    client.renegotiate()
    try:
        client.do_handshake()
    except SSL.WantReadError:
        pass


def _left_without_data() -> Recording:
    return talk(Setup(versions=_12, server=credential(issuer=root("Rogue")), verify=False), says=[])


IN_MEMORY: Final[dict[str, Callable[[], Recording]]] = {
    "tls12": lambda: talk(Setup(versions=_12)),
    "tls13": lambda: talk(Setup(versions=_13)),
    "both versions": lambda: talk(Setup()),
    "rsa key exchange": _with_suite(b"AES128-GCM-SHA256", "rsa"),
    "rsa key exchange, cbc": _with_suite(b"AES256-SHA256", "rsa"),
    "cbc with sha1": _with_suite(b"ECDHE-ECDSA-AES128-SHA"),
    "cbc with sha256": _with_suite(b"ECDHE-ECDSA-AES128-SHA256"),
    "cbc with sha384": _with_suite(b"ECDHE-ECDSA-AES256-SHA384"),
    "cbc, mac inside": _with_suite(b"ECDHE-ECDSA-AES128-SHA256", options=_NO_ENCRYPT_THEN_MAC),
    "ccm": _with_suite(b"ECDHE-ECDSA-AES128-CCM"),
    "ccm8": _with_suite(b"ECDHE-ECDSA-AES256-CCM8"),
    "chacha": _with_suite(b"ECDHE-ECDSA-CHACHA20-POLY1305"),
    "finite field": _finite_field,
    "no extended master secret": _with_suite(b"ECDHE-ECDSA-AES128-GCM-SHA256", options=_NO_EXTENDED_MASTER_SECRET),
    "rsa, no extended master secret": _with_suite(b"AES128-SHA256", "rsa", options=_NO_EXTENDED_MASTER_SECRET),
    "p384": _with_key(_12, "p384"),
    "p521": _with_key(_13, "p521"),
    "rsa": _with_key(_12, "rsa"),
    "rsa 1.3": _with_key(_13, "rsa"),
    "ed25519": _with_key(_12, "ed25519"),
    "ed25519 1.3": _with_key(_13, "ed25519"),
    "ed448": _with_key(_12, "ed448"),
    "ed448 1.3": _with_key(_13, "ed448"),
    "chacha 1.3": lambda: talk(Setup(versions=_13, suites_1_3=b"TLS_CHACHA20_POLY1305_SHA256")),
    "aes128 1.3": lambda: talk(Setup(versions=_13, suites_1_3=b"TLS_AES_128_GCM_SHA256")),
    "ccm 1.3": lambda: talk(Setup(versions=_13, suites_1_3=b"TLS_AES_128_CCM_SHA256")),
    "ticket": _resumed(_12),
    "session id": _resumed(_12, SSL.OP_NO_TICKET),
    "psk": _resumed(_13),
    "retry": lambda: talk(Setup(versions=_13, change=_other_group)),
    "mutual": lambda: talk(Setup(versions=_12, ask_client=True, client=credential("sensor-1", "rsa", client=True))),
    "mutual 1.3": lambda: talk(Setup(versions=_13, ask_client=True, client=credential("sensor-1", client=True))),
    "mutual, none": lambda: talk(Setup(versions=_12, ask_client=True)),
    "mutual 1.3, none": lambda: talk(Setup(versions=_13, ask_client=True)),
    "wrong name": lambda: talk(Setup(versions=_13, name="other.lab.test")),
    "no name": lambda: talk(Setup(versions=_12, name=None)),
    "alpn": lambda: talk(Setup(versions=_13, alpn=b"mqtt")),
    "alpn 1.2": lambda: talk(Setup(versions=_12, alpn=b"mqtt")),
    "untrusted": lambda: talk(Setup(versions=_12, server=credential(issuer=root("Rogue")))),
    "untrusted 1.3": lambda: talk(Setup(versions=_13, server=credential(issuer=root("Rogue")))),
    "chain": lambda: talk(Setup(versions=_12, chain=(root(),))),
    "left without data": _left_without_data,
    "renegotiation refused": lambda: talk(Setup(versions=_12), between=_renegotiated),
}
"""Names to makers of recordings: two ends in one process."""

_CONNECT: Final = ("client", mqtt()[0][1])
_PSK: Final = ("-psk", "0102030405060708", "-psk_identity", "device-1")


def _cli(
    *,
    server: tuple[str, ...] = (),
    client: tuple[str, ...] = (),
    first: tuple[str, ...] = (),
    kind: str = "rsa",
    steps: Sequence[Step] = (_CONNECT,),
) -> Recording:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "early").write_bytes(_CONNECT[1])
        return converse(folder, server=server, client=client, first=first, found=credential(kind=kind), steps=steps)


_SESSION: Final = ("-tls1_3", "-sess_out", "session")
_EARLY: Final = ("-tls1_3", "-sess_in", "session", "-early_data", "early")

OPENSSL: Final[dict[str, Callable[[], Recording]]] = {
    "key update": lambda: _cli(
        client=("-tls1_3",),
        # s_server answers a KeyUpdate when it says something else, the second time for certain: a record of 22.
        steps=(
            ("client", b"K\n"),
            _CONNECT,
            ("server", mqtt()[1][1], 21),
            ("server", mqtt()[3][1], 22),
            ("client", b"k\n"),
            ("client", mqtt()[2][1]),
        ),
    ),
    "pkcs1": lambda: _cli(client=("-tls1_2", "-sigalgs", "RSA+SHA256")),
    "finite field 1.3": lambda: _cli(client=("-tls1_3", "-groups", "ffdhe2048")),
    "fragments": lambda: _cli(client=("-tls1_2",), server=("-max_send_frag", "512")),
    "fragments 1.3": lambda: _cli(client=("-tls1_3",), server=("-max_send_frag", "512")),
    "renegotiated": lambda: _cli(
        client=("-tls1_2",), server=("-client_renegotiation",), steps=(("client", b"R\n"), _CONNECT)
    ),
    "early data": lambda: _cli(
        first=_SESSION, client=_EARLY, server=("-early_data",), steps=(("client", mqtt()[2][1]),)
    ),
    "early data refused": lambda: _cli(first=_SESSION, client=_EARLY, server=("-max_early_data", "16384")),
    "early data and a retry": lambda: _cli(
        first=_SESSION,
        client=(*_EARLY, "-groups", "X25519:P-256"),
        server=("-early_data", "-groups", "P-256"),
    ),
    "external psk": lambda: _cli(client=("-tls1_3", *_PSK), server=(*_PSK, "-nocert")),
    "psk 1.2": lambda: _cli(
        client=("-tls1_2", *_PSK, "-cipher", "PSK-AES128-GCM-SHA256"),
        server=(*_PSK, "-nocert", "-cipher", "PSK-AES128-GCM-SHA256"),
    ),
    "post-handshake authentication": lambda: _cli(
        client=("-tls1_3", "-enable_pha", "-cert", "server.pem"),
        server=("-verify", "2"),
        steps=(("server", b"c\n"), ("client", b""), _CONNECT),
    ),
    "no shared suite": lambda: _cli(client=("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), steps=()),
    "old version": lambda: _cli(client=("-tls1", "-cipher", "ALL:@SECLEVEL=0"), server=("-tls1_2",), steps=()),
}
"""The same with OpenSSL's own programs."""


@functools.cache
def recording_of(name: str) -> Recording:
    """The recording of a scenario, made once for all tests."""
    return (IN_MEMORY | OPENSSL)[name]()
