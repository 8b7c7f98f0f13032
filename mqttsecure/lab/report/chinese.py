# -*- test-case-name: tests.lab.report.test_chinese -*-
"""Messages of TCP and MQTT explained in Chinese, and the corrections of the old lab text; keys as in English."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.history import VersionFacts
from mqttsecure.lab.model import Corrected, Explanation
from mqttsecure.lab.report.chinese_tls import TLS

__all__ = ["CORRECTIONS", "EXPLANATIONS", "HISTORY", "corrected_in_chinese", "history_in_chinese", "in_chinese"]

_TCP: Final = {
    "syn": (
        "TCP 连接的第一个包：客户端请求建立连接，并告知它从哪个序号开始计数字节。",
        "TLS 建立在 TCP 之上：这一步完成之前，握手的任何内容都不能上网。它要花一个往返。",
        "地址、端口和时刻。SYN 可以伪造，所以半开连接的数量要加以限制。",
    ),
    "syn_ack": (
        "服务器同意建立连接，并告知自己的序号。",
        "端口是开放的，中间没有防火墙阻挡。",
        "有程序在监听这个端口。",
    ),
    "ack": (
        "客户端确认；连接在两个方向上都已打开。",
        "从这里起可以传输字节。客户端接下来发送的就是 ClientHello；没有 TLS 时则是 CONNECT。",
        "没有新的信息。",
    ),
    "fin": (
        "一端没有更多内容要发送。",
        "在 close_notify 或 DISCONNECT 之后属于正常；没有它们的 FIN 可能是伪造的，用来提前截断对话。",
        "对话的结束，以及谁先结束。",
    ),
    "rst": (
        "一端强行中断连接。",
        "正在途中的内容会丢失。紧跟在握手之后出现时，往往是一次拒绝，而 TLS 没有给出理由。",
        "连接断了。能看到序号的人都可以伪造 RST。",
    ),
}

_SIZE: Final = "有 TLS 时只能看到大小和时间；没有 TLS 时全部可见。"

_MQTT: Final = {
    "connect": (
        "MQTT 的第一个报文：协议版本、客户端标识符、允许沉默多久（保活时间），通常还有用户名和密码。",
        "谁可以做什么，就取决于这里写的内容。密码原样发送：只有 TLS 能防止别人看到它。",
        "有 TLS 时只能看到大小和时间；没有 TLS 时能看到密码本身，可以立即使用。",
    ),
    "connack": (
        "代理对 CONNECT 的答复：接受，或者为何不接受。",
        "代理的拒绝写在这里，而 TLS 的拒绝则是在此之前的警报。",
        _SIZE,
    ),
    "publish": (
        "发往某个主题的消息，带有服务质量（QoS）等级。",
        "这才是一切的目的：一个温度值，或者打开阀门的命令。谁可以发送，必须逐条判定。",
        "有 TLS 时能看到大小和时间，可以由此猜测规律；没有 TLS 时可以读取、篡改和伪造。",
    ),
    "puback": ("QoS 1 的 PUBLISH 的回执。", "收到它之前，发送者必须重发：至少一次送达。", _SIZE),
    "subscribe": (
        "客户端想要接收的主题过滤器。",
        "`#` 要的是一切：授予什么必须判定，并且在每条消息投递时再判定一次。",
        _SIZE,
    ),
    "suback": (
        "对 SUBSCRIBE 的逐个过滤器的答复：授予了哪些。",
        "拒绝就写在这里，很容易被忽略：0x80，在 MQTT 5.0 中是 0x87。",
        _SIZE,
    ),
    "pingreq": (
        "客户端还在，并询问代理是否还在。",
        "没有它，断掉的连接要到下一条消息时才会被发现。每个保活周期内都要发送。",
        "有规律的节拍，隔着 TLS 也看得出来：这是最小的报文。",
    ),
    "pingresp": ("代理还在。", "保活机制的另一半。", "有规律的节拍，隔着 TLS 也看得出来。"),
    "disconnect": (
        "正常结束：客户端离开，它的遗嘱不会发布。",
        "没有它就结束的连接视为异常断开，遗嘱将会发布。",
        _SIZE,
    ),
    "malformed_mqtt": (
        "本该是报文的位置上，出现了标准不允许的字节。",
        "代理应当为此关闭连接；如果没有关闭，就要仔细查看。",
        _SIZE,
    ),
    "other": (
        "QoS 2、取消订阅或认证流程中的报文。",
        "它们各自带有所答复报文的报文标识符。",
        _SIZE,
    ),
}

EXPLANATIONS: Final[dict[str, tuple[str, str, str]]] = {
    **{f"tcp.{key}": value for key, value in _TCP.items()},
    **{f"tls.{key}": value for key, value in TLS.items()},
    **{f"mqtt.{key}": value for key, value in _MQTT.items()},
}
"""By the key of the English ones: what, why, what an attacker sees."""

CORRECTIONS: Final = {
    "C2a": (
        "ServerHello 把版本定为 TLS 1.2，与 ClientHello 的 TLS 1.1 不同；两者不一致时服务器关闭连接。",
        "有三个数字看起来都像版本。第一条记录头里的 0x0301 是为照顾旧服务器，不是提议；legacy_version 即使在 TLS 1.3 "
        "中也写 TLS 1.2；真正有效的是 supported_versions（如果有）。服务器若不接受任何提议，就发送警报 "
        "protocol_version，而没有 ServerHello。",
    ),
    "C4c": (
        "加密的握手消息里是一个随机数，用服务器的公钥加密。",
        "它是 Finished：对整个握手计算的 MAC，由双方此时都已拥有的会话密钥保护。里面没有随机数，也没有用公钥加密。"
        "（只有旧的 RSA 密钥交换的 ClientKeyExchange 才用公钥加密内容。）",
    ),
    "C4d": (
        "客户端的 Finished 可能是之前所有消息的哈希（未证实）。",
        '已证实：TLS 1.2 计算 PRF(主密钥, "client finished", 所有握手消息的哈希)，TLS 1.3 则对该哈希计算 HMAC。'
        "重新计算的结果与解密出来的内容相等。",
    ),
    "C5": (
        "证书不受信任、已过期或名称不符时给出警告，由用户选择。",
        "那是浏览器。设备没有用户：它必须拒绝，并说明原因。谁让它继续，谁就对中间人毫无防护。",
    ),
    "C6a": (
        "服务器的公钥就是 ServerKeyExchange 里的 pubkey。",
        "公钥有两个。证书的密钥使用数月，负责签名；ServerKeyExchange 里的密钥只为一次连接生成，用于密钥交换，并由前者"
        "签名。在 TLS 1.3 中它写在 ServerHello 里。",
    ),
    "C7": (
        "接下来就是用会话密钥加密的普通 HTTP。",
        "这里是 MQTT。TLS 并不知道自己承载的是什么。",
    ),
    "E4": (
        "TLS 多花两个往返。",
        "TLS 1.2 完整握手是两个；恢复会话是一个；TLS 1.3 是一个，若有 HelloRetryRequest 则是两个；使用早期数据时一个也"
        "不多。",
    ),
}
"""By their row: what the text says, what is true."""

HISTORY: Final = {
    "SSL 2.0": "握手没有认证",
    "SSL 3.0": "填充可以被猜出（POODLE）",
    "TLS 1.0": "初始向量可以预测（BEAST），使用 MD5 和 SHA-1",
    "TLS 1.1": "仍用 MD5 和 SHA-1，没有 AEAD",
    "TLS 1.2": "有 AEAD 和 SHA-256；配合 ECDHE 与 AEAD 是好的，但它也允许弱的选项",
    "TLS 1.3": "只留下好的选项，一个往返，证书加密",
}
"""By version: what it brought, or what broke it."""


def in_chinese(key: str, english: Explanation) -> Explanation:
    """An explanation in Chinese; the English one where nobody has translated it."""
    found = EXPLANATIONS.get(key)
    if found is None:
        return english
    what, why, attacker = found
    return Explanation(what, why, english.specification, attacker)


def corrected_in_chinese(corrected: Corrected) -> tuple[str, str]:
    """What the old text says and what is true, in Chinese; English where nobody has translated it."""
    return CORRECTIONS.get(corrected.row, (corrected.said, corrected.wire))


def history_in_chinese(version: VersionFacts) -> str:
    """What is to say of a version."""
    return HISTORY.get(version.name, version.why)
