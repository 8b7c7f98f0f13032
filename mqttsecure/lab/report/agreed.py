# -*- test-case-name: tests.lab.report.test_page -*-
"""What the handshake agreed on: version, cipher suite spelled out, randoms, and where the keys come from."""

from __future__ import annotations

from typing import Final, TypeAlias

from mqttsecure.lab.model import Connection, SuiteFacts, TlsFacts
from mqttsecure.lab.report.html import Markup, both, join, phrase, tag

__all__ = ["agreed", "origin_of_keys"]

_Words: TypeAlias = tuple[str, str]

_GRADES: Final = {
    "good": ("ok", ("good", "良好")),
    "weak": ("warn", ("weak", "偏弱")),
    "broken": ("bad", ("broken", "已被攻破")),
}
_REASONS: Final = {
    "no forward secrecy": "没有前向保密",
    "CBC": "CBC 模式",
    "64-bit blocks (Sweet32)": "64 位分组（Sweet32）",
    "a tag of 64 bits": "认证标签只有 64 位",
    "SHA-1 as MAC": "MAC 使用 SHA-1",
    "MD5 as MAC": "MAC 使用 MD5",
    "DSA certificate": "DSA 证书",
    "nobody knows this suite": "未知的密码套件",
}
_SEPARATE: Final = "negotiated on its own"

_RSA: Final = (
    "The client made up a secret (the premaster secret) and encrypted it for the certificate's key",
    "客户端自行选定一个秘密（预主密钥），用证书的公钥加密后发送",
)
_DIFFIE_HELLMAN: Final = (
    "Each end combined its own one-time private key with the other's one-time public key; the same secret came out at "
    "both, and it never went over the wire",
    "两端各自用自己的一次性私钥与对方的一次性公钥计算，得到同一个秘密，它从未经过网络",
)
_EXTENDED: Final = (
    "; the master secret is made of it and the hash of the handshake so far (extended master secret), the keys of the "
    "master secret and both randoms.",
    "；主密钥由它和到此为止的握手哈希计算（扩展主密钥），各记录密钥再由主密钥和双方随机数计算。",
)
_NOT_EXTENDED: Final = (
    "; the master secret is made of it and both randoms, the keys of the master secret and both randoms once more.",
    "；主密钥由它和双方随机数计算，各记录密钥再由主密钥和双方随机数计算。",
)
_RESUMED: Final = (
    "The master secret is that of the earlier session; with the two new randoms it makes new keys.",
    "主密钥沿用先前的会话，与两个新的随机数一起生成新的密钥。",
)
_1_3: Final = (
    ". HKDF makes a key for each direction and each stage of it and of the hash of all messages so far; the randoms "
    "count only as a part of those.",
    "。HKDF 由它和到目前为止所有消息的哈希，为每个方向、每个阶段生成密钥；随机数只作为消息的一部分参与其中。",
)
_PSK: Final = (
    "A key that both ends kept from an earlier session stands in for the certificate",
    "两端从先前会话保留的密钥代替了证书",
)


def origin_of_keys(facts: TlsFacts) -> _Words | None:
    """Where the keys of the records come from (lab row C6b); None where nothing was agreed."""
    if facts.version is None or facts.suite is None:
        return None
    if facts.version.startswith("TLS 1.3"):
        if facts.psk_mode == "psk_ke":
            return _after(_PSK, _1_3)
        start = (
            _after(_after(_PSK, ("; beside it: ", "；此外，")), _DIFFIE_HELLMAN) if facts.psk_mode else _DIFFIE_HELLMAN
        )
        return _after(start, _1_3)
    if facts.resumed:
        return _RESUMED
    start = _RSA if facts.suite.key_exchange == "RSA" else _DIFFIE_HELLMAN
    return _after(start, _EXTENDED if facts.extended_master_secret else _NOT_EXTENDED)


def _after(first: _Words, second: _Words) -> _Words:
    return first[0] + second[0], first[1] + second[1]


def agreed(connection: Connection) -> Markup | None:
    """The section; None where there is no TLS, or no ServerHello."""
    facts = connection.tls
    if facts is None or facts.version is None:
        return None
    rows: list[tuple[_Words, object]] = [
        (("Version", "版本"), facts.version),
        (("Numbers that look like it", "看起来像版本的数字"), _numbers(facts)),
    ]
    if facts.suite is not None:
        rows += [
            (("Cipher suite", "密码套件"), f"{facts.suite.name} (0x{facts.suite.id:04x})"),
            (("spelled out", "逐项说明"), _spelled_out(facts, facts.suite)),
            (("grade", "评级"), _grade(facts.suite)),
        ]
    rows += [(name, value) for name, value in _more(facts) if value]
    origin = origin_of_keys(facts)
    if origin is not None:
        rows.append((("Where the keys come from", "密钥从何而来"), phrase(origin)))
    listed = (join((tag("dt", phrase(name)), tag("dd", value))) for name, value in rows)
    return join((tag("h3", both("What was agreed", "协商结果")), tag("dl", *listed)))


def _numbers(facts: TlsFacts) -> str:
    numbers = (
        ("record", facts.record_version),
        ("legacy_version", facts.legacy_version),
        ("supported_versions", facts.selected_version),
    )
    return ", ".join(f"{name} {f'0x{value:04x}' if value is not None else '–'}" for name, value in numbers)


def _spelled_out(facts: TlsFacts, suite: SuiteFacts) -> Markup:
    exchange = facts.key_exchange or suite.key_exchange
    signed, cipher = suite.authentication, suite.cipher.replace("_", "-")
    chinese = "单独协商" if signed == _SEPARATE else signed
    return both(
        f"key exchange {exchange}, authentication {signed}, cipher {cipher}, hash {suite.hash}",
        f"密钥交换 {exchange}，认证 {chinese}，加密 {cipher}，哈希 {suite.hash}",
    )


def _grade(suite: SuiteFacts) -> Markup:
    style, words = _GRADES.get(suite.grade, ("warn", (suite.grade, suite.grade)))
    why = ", ".join(suite.reasons)
    chinese = "，".join(_REASONS.get(each, each) for each in suite.reasons)
    return join((tag("b", phrase(words), class_=style), both(f": {why}", f"：{chinese}") if why else None))


def _more(facts: TlsFacts) -> list[tuple[_Words, object]]:
    return [
        (("Group", "群组"), facts.group),
        (("Server name asked for", "请求的服务器名"), facts.sni),
        (("Application protocol", "应用层协议"), facts.alpn),
        (("Client random", "客户端随机数"), facts.client_random),
        (("Server random", "服务器随机数"), facts.server_random),
        (("Resumed by", "会话恢复方式"), facts.resumption),
        (("Early data", "早期数据"), facts.early_data if facts.early_data != "no" else None),
    ]
