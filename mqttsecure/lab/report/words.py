# -*- test-case-name: tests.lab.report.test_page -*-
"""Short fixed texts of the page by stable keys, English and Chinese: outcomes, checks, findings."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.model import Connection, Finding, Outcome

__all__ = ["CHECKS", "OUTCOMES", "SENDERS", "STATES", "check_name", "finding_in_chinese", "verdict_in_chinese"]

SENDERS: Final = {"client": ("client", "客户端"), "server": ("server", "服务器")}

STATES: Final = {Outcome.OK: ("right", "正确"), Outcome.BAD: ("WRONG", "错误"), Outcome.UNKNOWN: ("open", "未能验证")}

OUTCOMES: Final = {
    "completed": "握手完成，并交换了数据",
    "completed_left": "握手完成，但客户端未发送任何数据便离开：看似成功，实为拒绝",
    "completed_refused": "握手完成后被拒绝",
    "refused_by_server": "被服务器拒绝",
    "refused_by_client": "被客户端拒绝",
    "aborted": "连接中断，没有给出理由",
    "incomplete": "抓包不完整，看不到结局",
    "midstream": "抓包从连接中途开始，没有握手，无法得知密钥",
    "plaintext": "没有 TLS：MQTT 明文传输，路径上的任何人都能读取并篡改一切",
    "unknown": "既不是 TLS，也不是 MQTT，或者没有传输任何字节",
}
"""Each ``Verdict.outcome`` in Chinese."""

CHECKS: Final = {
    "server_key_exchange_signature": ("signature of ServerKeyExchange", "ServerKeyExchange 的签名"),
    "server_certificate_verify_signature": ("signature of CertificateVerify", "服务器 CertificateVerify 的签名"),
    "client_certificate_verify_signature": ("signature of CertificateVerify", "客户端 CertificateVerify 的签名"),
    "master_secret": ("master secret", "主密钥"),
    "client_finished": ("the client's Finished, computed anew", "重新计算的客户端 Finished"),
    "server_finished": ("the server's Finished, computed anew", "重新计算的服务器 Finished"),
    "certificate_time": ("validity at the time of the capture", "抓包时刻的有效期"),
    "certificate_purpose": ("purpose", "用途"),
    "certificate_name": ("name", "名称"),
    "certificate_trust": ("trust", "信任链"),
    "certificate_readable": ("form", "格式"),
    "certificate_strength": ("strength", "强度"),
}

_FINDINGS: Final = {
    "password_visible": "密码以明文经过网络，任何看到它的人都可以直接使用",
    "malformed_mqtt": "出现了不合规范的 MQTT 报文",
    "connect_refused": "代理拒绝了 CONNECT",
    "tcp_conflict": "有帧用不同内容重复了已发送的字节：可能有人注入，或发送方有缺陷",
    "accepted_bad_certificate": "客户端接受了本应拒绝的证书，并把数据发给了持有该证书密钥的人",
    "cipher_suite": "密码套件偏弱或已被攻破",
    "psk_without_dhe": "仅凭预共享密钥恢复会话，没有新的密钥交换：没有前向保密",
    "compression": "启用了压缩：长度会泄露秘密（CRIME）",
    "no_extended_master_secret": "没有扩展主密钥（RFC 7627）：两个会话可能被弄成共用同一主密钥",
    "no_secure_renegotiation": "服务器不支持安全重协商（RFC 5746）",
    "small_dh_prime": "DHE 的素数太短（Logjam），至少应为 2048 位",
    "old_version": "协议版本已过时，不得再使用",
    "downgrade": "被降级：两端都支持 TLS 1.3，但到达服务器的提议里已没有它",
    "downgrade_sentinel": "服务器随机数带有降级标记：服务器支持 TLS 1.3，本次却协商为更低版本",
    "hello_retry_request": "服务器要求重发 ClientHello，多花一个往返",
    "early_data": "握手完成之前就发出了数据：攻击者可以重放它",
    "early_data_refused": "服务器丢弃了早期数据，客户端必须重发",
    "renegotiation": "连接中途又开始了新的握手（重协商）",
    "renegotiation_refused": "重协商被拒绝",
    "no_client_certificate": "服务器要求客户端证书，客户端却没有提供",
    "malformed_message": "有消息不合规范",
    "key_log_absent": "密钥日志与这个连接无关",
    "key_log_wrong": "密钥日志打不开这些记录",
    "key_log_partial": "密钥日志只能打开一部分记录",
    "certificate_time": "证书在抓包时刻不在有效期内",
    "certificate_purpose": "证书的用途不符",
    "certificate_name": "证书不是颁发给客户端要访问的名称的",
    "certificate_trust": "证书不受信任，或链上的签名不正确",
    "certificate_readable": "证书无法解析",
    "certificate_strength": "证书的密钥或签名太弱",
    "master_secret": "密钥日志里的主密钥与这次握手不符",
    "client_finished": "客户端的 Finished 与重新计算的结果不符",
    "server_finished": "服务器的 Finished 与重新计算的结果不符",
    "server_key_exchange_signature": "ServerKeyExchange 的签名不正确",
    "server_certificate_verify_signature": "服务器 CertificateVerify 的签名不正确",
    "client_certificate_verify_signature": "客户端 CertificateVerify 的签名不正确",
}


def check_name(key: str) -> tuple[str, str]:
    """What was checked, in both languages."""
    return CHECKS.get(key, (key.replace("_", " "), key.replace("_", " ")))


def finding_in_chinese(finding: Finding) -> str:
    """A finding; the English text, which has the details, where nobody has translated it."""
    return _FINDINGS.get(finding.key, finding.text)


def verdict_in_chinese(connection: Connection) -> str:
    """The verdict line: what was agreed, and how it went."""
    facts = connection.tls
    parts = []
    if facts is not None and facts.version is not None:
        parts.append(facts.version)
        if facts.suite is not None:
            # In TLS 1.3 the suite says nothing of the exchange: the group does, or there is none but a key of before.
            exchange = "" if facts.suite.key_exchange == "TLS 1.3" else facts.suite.key_exchange
            parts.append(f"{exchange} {facts.group or ''}".strip() or "PSK")
            parts.append(facts.suite.cipher.replace("_", "-"))
        if facts.resumed:
            parts.append("会话恢复")
        if facts.server_certificates:
            certificate = facts.server_certificates[0]
            parts.append(f"证书 {_common_name(certificate.subject)}，由 {_common_name(certificate.issuer)} 颁发")
    if any(message.field("password") is not None for message in connection.of_kind("connect")):
        parts.append("密码可见" if connection.verdict.secret_visible else "密码不可见")
    ending = OUTCOMES.get(connection.verdict.outcome, connection.verdict.outcome)
    return "；".join(each for each in ("，".join(part for part in parts if part), ending) if each)


def _common_name(name: str) -> str:
    return next((part[3:] for part in name.split(",") if part.startswith("CN=")), name)
