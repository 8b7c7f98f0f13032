# -*- test-case-name: tests.lab.report.test_chinese -*-
"""What a capture says, in Chinese: lines of values, checks and corrections, by the form that their English has.

What nobody has translated stays English; names, numbers and alerts are the same in both.
"""

from __future__ import annotations

import re
from typing import Final

from mqttsecure.lab.report.html import Markup, both

__all__ = ["in_both", "line_in_chinese"]

_LONGEST: Final = 600
"""Characters of a line that is looked at: a hostile capture is not to keep the patterns busy."""

_ENDS: Final = {"client": "客户端", "server": "服务器"}

_VALUES: Final = (
    (r"asks for a connection", "请求建立连接"),
    (r"agrees", "同意"),
    (r"the connection is open", "连接已打开"),
    (r"has nothing more to send", "没有更多内容要发送"),
    (r"ends the connection at once", "立即中断连接"),
    (r"offers (.+), (\d+) cipher suites for (.+)", r"提议 \1，\2 个密码套件，访问 \3"),
    (r"offers (.+), (\d+) cipher suites", r"提议 \1，\2 个密码套件"),
    (r"chooses (.+), (.+)", r"选定 \1，\2"),
    (r"asks for another ClientHello with a key for (.+)", r"要求用 \1 的公钥重新发送 ClientHello"),
    (r"(.+) and (\d+) above it", r"\1，以及上级证书 \2 张"),
    (r"EMPTY: no certificate at all", "空：没有任何证书"),
    (r"ECDHE key for (\S+), signed by (\S+)", r"\1 的 ECDHE 公钥，用 \2 签名"),
    (r"DHE key modulo (.+), signed by (\S+)", r"模 \1 的 DHE 公钥，用 \2 签名"),
    (r"nothing more for now: the client's turn", "暂时没有更多内容：轮到客户端"),
    (r"(EC)?DHE, (\d+) bytes", r"\1DHE，\2 字节"),
    (r"RSA encrypted premaster, (\d+) bytes", r"用 RSA 加密的预主密钥，\1 字节"),
    (r"from here on the (client|server) encrypts", r"从这里起\1开始加密"),
    (r"says nothing in TLS 1\.3; .+", "在 TLS 1.3 中没有意义，只为让路径上的旧设备把它当作 TLS 1.2"),
    (r"(\d+) bytes that only both ends can compute", r"只有两端才能算出的 \1 个字节"),
    (r"valid for (\d+) s", r"有效期 \1 秒"),
    (r"signed by (\S+)", r"用 \1 签名"),
    (r"the client shall show a certificate", "要求客户端出示证书"),
    (r"nothing", "没有内容"),
    (r"the data that came early ends here", "早期数据到此结束"),
    (r"the sender changes its key now", "发送者现在更换密钥"),
    (r"the sender changes its key now, and wants .+", "发送者现在更换密钥，并要求对方也更换"),
    (r"warning close_notify: .+", "警告 close_notify：发送者没有更多内容，属于正常结束，不是错误"),
    (r"fatal (\w+): .+", r"致命警报 \1"),
    (r"warning (\w+): .+", r"警告 \1"),
    (r"(MQTT \S+), client identifier (.+), user (.+) with a password", r"\1，客户端标识符 \2，用户 \3，带密码"),
    (r"(MQTT \S+), client identifier (.+), user (.+)", r"\1，客户端标识符 \2，用户 \3"),
    (r"(MQTT \S+), client identifier (.+)", r"\1，客户端标识符 \2"),
    (r"(\w+) \(accepted\)", r"\1（接受）"),
    (r"(\w+) \(success\)", r"\1（成功）"),
    (r"(.+), QoS (\d), (\d+) bytes", r"\1，QoS \2，\3 字节"),
    (r"of packet (\d+)", r"对应报文 \1"),
    (r"of packet (\d+), (.+)", r"对应报文 \1，\2"),
    (r"(.+) up to QoS (\d)", r"\1，最高 QoS \2"),
)

_CHECKS: Final = (
    (
        r"the certificate's key signed both randoms and the one-time key \((\S+)\)",
        r"证书的密钥签署了双方随机数和一次性公钥（\1）",
    ),
    (r"the certificate's key signed all messages before this one \((\S+)\)", r"证书的密钥签署了此前的所有消息（\1）"),
    (
        r"computed anew \(HMAC .+\): equal, nobody changed anything",
        "重新计算（对所有消息的哈希做 HMAC）：相等，没有人改动过",
    ),
    (
        r"computed anew \(the PRF .+\): equal, nobody changed anything",
        "重新计算（对此前所有消息的哈希做 PRF）：相等，没有人改动过",
    ),
    (r"the master secret follows from .+ \(extended\)", "主密钥可由预主密钥和握手哈希推出（扩展主密钥）"),
    (r"EXPIRED at the time of the capture: it ended at (\S+)", r"抓包时已过期：有效期止于 \1"),
    (r"valid at the time of the capture, for another (\d+) days", r"抓包时有效，还剩 \1 天"),
    (r"made for a (client|server)", r"用途：\1"),
    (r"is for (.+), which the client asked for", r"颁发给客户端所请求的 \1"),
    (
        r"WRONG NAME: the client asked for (.+), and the certificate is for (.+)",
        r"名称不符：客户端请求 \1，证书却颁发给 \2",
    ),
    (r"leads to (.+), which is trusted; every signature on the way is right", r"通向受信任的 \1，沿途每个签名都正确"),
    (r"SELF-SIGNED, which is NOT TRUSTED: .+", "自签名，不受信任：谁都可以制作这样的证书"),
    (r"leads to (.+), which is NOT TRUSTED: .+", r"通向 \1，但它不受信任：谁都可以制作这样的证书"),
    (
        r"says it is by (.+): the NAMES MATCH, THE SIGNATURE DOES NOT\..+",
        r"自称由 \1 颁发：名称相符，签名却不符。有人另造了同名的 CA",
    ),
    (r"says it is by (.+), which is NOT TRUSTED and not here", r"自称由 \1 颁发，但它不受信任，也不在这里"),
)

_CORRECTIONS: Final = (
    (
        r"offered (.+), refused by the alert protocol_version in frame (\d+)",
        r"提议 \1，被第 \2 帧的警报 protocol_version 拒绝",
    ),
    (
        r"version in the first record (\w+), legacy_version (\w+), supported_versions (\w+): the version is (.+)",
        r"第一条记录的版本 \1，legacy_version \2，supported_versions \3：版本是 \4",
    ),
    (
        r"version in the first record (\w+), legacy_version (\w+): the version is (.+)",
        r"第一条记录的版本 \1，legacy_version \2：版本是 \3",
    ),
    (
        r"frame (\d+), opened by the session key: verify_data (\w+), no random and no public key in it",
        r"第 \1 帧，用会话密钥打开：verify_data \2，里面没有随机数，也没有公钥",
    ),
    (
        r"in frame (\d+), (\d+) bytes encrypted; with a key log it could be opened",
        r"在第 \1 帧，\2 字节，已加密；有密钥日志就能打开",
    ),
    (r"needs a key log", "需要密钥日志"),
    (r"computed (\w+), on the wire (\w+): equal", r"计算得 \1，网络上是 \2：相等"),
    (r"computed (\w+), on the wire (\w+): NOT EQUAL", r"计算得 \1，网络上是 \2：不相等"),
    (
        r"certificate: (.+); one-time key: (.+); the signature between them is right",
        r"证书公钥：\1；一次性公钥：\2；两者之间的签名正确",
    ),
    (
        r"certificate: (.+); one-time key: (.+), in ServerHello, signed by .+",
        r"证书公钥：\1；一次性公钥：\2，在 ServerHello 中，由 CertificateVerify 签名",
    ),
    (r"certificate: (.+); no one-time key at all: .+", r"证书公钥：\1；根本没有一次性公钥：秘密用证书公钥加密"),
    (r"the certificate is encrypted here, .+", "这里证书是加密的，一次性公钥在两个 Hello 中"),
    (r"(\d+) encrypted records of application data; .+", r"\1 条加密的应用数据记录；没有密钥，谁也说不出里面是什么"),
    (
        r"(\d) of TLS and (\d) of TCP before the first byte of MQTT",
        r"第一个 MQTT 字节之前：TLS \1 个往返，TCP \2 个往返",
    ),
    (r"(\d) of TLS and (\d) of TCP; no byte of MQTT followed", r"TLS \1 个往返，TCP \2 个往返；之后没有 MQTT 字节"),
    (
        r"(\d) of TLS and (\d) of TCP; where MQTT begins .+",
        r"TLS \1 个往返，TCP \2 个往返；没有密钥就无法判断 MQTT 从哪里开始",
    ),
)

_FORMS: Final = [(re.compile(form, re.DOTALL), chinese) for form, chinese in (*_VALUES, *_CHECKS, *_CORRECTIONS)]

_AFTER: Final = {
    "; the client went on all the same": "；客户端仍然继续",
    "; the client sent no byte of MQTT": "；客户端没有发送任何 MQTT 字节",
}
"""What may follow a line of its own (lab row C5)."""


def line_in_chinese(english: str) -> str:
    """A line in Chinese, or as it is."""
    if len(english) > _LONGEST:
        return english
    for after, chinese in _AFTER.items():
        if english.endswith(after):
            return line_in_chinese(english.removesuffix(after)) + chinese
    for form, chinese in _FORMS:
        found = form.fullmatch(english)
        if found is not None:
            return _filled(chinese, found)
    return english


def _filled(chinese: str, found: re.Match[str]) -> str:
    """The Chinese form with what stood in the English one; an end of the connection has a Chinese name."""
    groups = [_ENDS.get(each or "", each or "") for each in found.groups()]
    return re.sub(r"\\(\d)", lambda number: groups[int(number[1]) - 1], chinese)


def in_both(english: str) -> Markup:
    """A line in both languages."""
    return both(english, line_in_chinese(english))
