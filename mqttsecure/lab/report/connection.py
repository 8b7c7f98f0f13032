# -*- test-case-name: tests.lab.report.test_page -*-
"""One connection on the page: its verdict, its pictures, its messages, its certificates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mqttsecure.lab.model import Connection, Message
from mqttsecure.lab.report.agreed import agreed
from mqttsecure.lab.report.chain import certificates
from mqttsecure.lab.report.chinese_values import in_both
from mqttsecure.lab.report.html import Markup, both, join, phrase, table, tag
from mqttsecure.lab.report.ladder import draw, left_out, rungs_of
from mqttsecure.lab.report.layers import draw_layers, one_frame
from mqttsecure.lab.report.messages import anchor, messages_list, place
from mqttsecure.lab.report.words import SENDERS, finding_in_chinese, verdict_in_chinese

__all__ = ["connection_section", "verdict_of"]

_ANSWERS: Final = {
    "connect": "connack",
    "subscribe": "suback",
    "pingreq": "pingresp",
}
_RECEIPTS: Final[dict[object, str]] = {1: "puback", 2: "pubrec"}
"""Of a PUBLISH, by its QoS."""
_MOST_EXCHANGES: Final = 50
_SEVERITIES: Final = {"red": ("bad", "✖"), "amber": ("warn", "▲"), "info": ("soft", "ℹ")}


def verdict_of(connection: Connection) -> Markup:
    """The line that says how it went, coloured by what is wrong."""
    verdict = connection.verdict
    severities = {each.severity for each in verdict.findings}
    bad = verdict.refused or "red" in severities
    state = "verdict bad" if bad else "verdict warn" if "amber" in severities else "verdict"
    return tag("p", both(verdict.text, verdict_in_chinese(connection)), class_=state)


def connection_section(connection: Connection, run: str = "") -> Markup:
    """All of it; of a run of a lab, by its number."""
    ends = f"{connection.client} → {connection.server}"
    return tag(
        "section",
        tag("h2", both(f"Connection {connection.number}", f"连接 {connection.number}"), ": ", ends),
        verdict_of(connection),
        *_findings(connection, run),
        *(tag("p", each, class_="soft") for each in connection.notes),
        _ladder(connection),
        _below(connection),
        agreed(connection),
        _exchanges(connection),
        tag("h3", both("Every message explained", "逐条消息讲解")),
        messages_list(connection, run),
        certificates(connection),
        id=place(connection, run),
    )


def _findings(connection: Connection, run: str) -> Iterator[Markup]:
    for each in connection.verdict.findings:
        style, mark = _SEVERITIES[each.severity]
        where = None
        if each.message is not None:
            where = tag("a", f"[{each.message}]", href=f"#{anchor(connection, each.message, run)}")
        yield tag("p", f"{mark} ", both(each.text, finding_in_chinese(each)), " ", where, class_=style)


def _ladder(connection: Connection) -> Markup:
    rungs = rungs_of(connection)
    more = left_out(connection)
    title = f"Ladder of connection {connection.number}: who sent what, from the top down"
    caption = both(
        "Time runs downwards. Shading begins where a direction is encrypted; a lock marks each message that went over "
        "the wire encrypted.",
        "时间自上而下。阴影从该方向开始加密处起；锁形标记表示该消息在网络上是加密的。",
    )
    return tag(
        "figure",
        tag("figcaption", both("The conversation", "对话过程")),
        draw(rungs, title=title),
        draw(rungs, title=title, narrow=True),
        tag("p", caption, class_="soft"),
        tag("p", both(f"{more} more messages are not drawn.", f"另有 {more} 条消息未画出。")) if more else None,
        class_="picture",
    )


def _below(connection: Connection) -> Markup:
    """TCP beneath it, the layers, the round trips."""
    tcp = connection.tcp
    parts: list[Markup | None] = []
    if tcp.syn is not None and tcp.syn_ack is not None and tcp.ack is not None:
        parts.append(
            both(
                f"TCP first: SYN in frame {tcp.syn}, SYN-ACK in frame {tcp.syn_ack}, ACK in frame {tcp.ack}.",
                f"先有 TCP 握手：SYN 在第 {tcp.syn} 帧，SYN-ACK 在第 {tcp.syn_ack} 帧，ACK 在第 {tcp.ack} 帧。",
            )
        )
    else:
        parts.append(both("The TCP handshake is not in the capture.", "抓包中没有 TCP 握手。"))
    parts += [_segments(connection, "client"), _segments(connection, "server")]
    trips = connection.round_trips
    if trips is not None:
        spent = f"{trips.seconds * 1000:.1f} ms" if trips.seconds is not None else "–"
        english, chinese = f"{trips.text}; {spent}", f"TLS {trips.tls} 个，TCP {trips.tcp} 个；用时 {spent}"
        if connection.tls is not None:
            octets = f"{trips.handshake_frame_bytes:,}"
            english, chinese = f"{english}, {octets} bytes of frames", f"{chinese}，帧共 {octets} 字节"
        parts.append(both(f"Round trips: {english}.", f"往返：{chinese}。"))
    frame = one_frame(connection)
    parts.append(phrase(frame) if frame is not None else None)
    if connection.tls is not None:
        parts.append(both(f"Keys: {connection.tls.key_log.text}.", _keys_in_chinese(connection)))
    return tag(
        "figure",
        tag("figcaption", both("What lies in what", "层次：谁在谁里面")),
        draw_layers(connection),
        *(tag("p", each) for each in parts if each is not None),
        class_="picture",
    )


def _segments(connection: Connection, sender: str) -> Markup:
    tcp = connection.tcp
    count, octets, acks = tcp.segments[sender], tcp.bytes[sender], tcp.acks[sender]
    frames = ", ".join(f"#{each}" for each in acks[:20]) + (" …" if len(acks) > 20 else "")
    english, chinese = SENDERS["client" if sender == "client" else "server"]
    return both(
        f"The {english}: {octets:,} bytes in {count} segments; mere ACKs: {frames or 'none'}.",
        f"{chinese}：{count} 个段共 {octets:,} 字节；纯 ACK 帧：{frames or '无'}。",
    )


_KEY_LOGS: Final = {
    "none": "没有密钥日志：只能看到路径上任何人都能看到的内容",
    "absent": "密钥日志与这个连接无关",
    "wrong": "密钥日志打不开这些记录",
    "partial": "密钥日志只能打开一部分记录",
    "used": "密钥日志打开了加密的记录",
}


def _keys_in_chinese(connection: Connection) -> str:
    use = connection.tls.key_log if connection.tls is not None else None
    if use is None:
        return ""
    return (
        f"密钥：{_KEY_LOGS.get(use.state, use.state)}（已解密 {use.records_decrypted} / {use.records_encrypted} 条）。"
    )


def _exchanges(connection: Connection) -> Markup | None:
    """Requests of MQTT and their answers, with times (lab row S2); None where no packet can be read."""
    rows = []
    keep_alive = next((each.field("keep_alive") for each in connection.of_kind("connect")), None)
    for message in connection.messages:
        wanted = _wanted(message)
        if wanted is None:
            continue
        answer = _answer(connection, message, wanted)
        names = message.name if answer is None else f"{message.name} → {answer.name}"
        wait = f"{(answer.time - message.time) * 1000:.1f} ms" if answer is not None else "–"
        start = f"{(message.time - connection.start) * 1000:.1f} ms"
        rows.append((phrase(SENDERS[message.sender]), names, start, wait, in_both(message.value)))
    if not rows:
        return None
    heads = (
        ("from", "来自"),
        ("packets", "报文"),
        ("sent at", "发送时刻"),
        ("answered after", "答复用时"),
        ("what", "内容"),
    )
    spoken = None
    if keep_alive is not None:
        spoken = tag("p", both(f"Keep Alive: {keep_alive} s.", f"保活时间：{keep_alive} 秒。"))
    return join(
        (tag("h3", both("MQTT, request and answer", "MQTT 请求与答复")), spoken, table(heads, rows[:_MOST_EXCHANGES]))
    )


def _wanted(message: Message) -> str | None:
    """The kind of packet that answers it; None where none does."""
    if message.layer != "mqtt":
        return None
    if message.kind == "publish":
        return _RECEIPTS.get(message.field("qos"))
    return _ANSWERS.get(message.kind)


def _answer(connection: Connection, asked: Message, kind: str) -> Message | None:
    identifier = asked.field("packet_id")
    for message in connection.messages[asked.index :]:
        if message.kind == kind and message.sender != asked.sender and message.field("packet_id") == identifier:
            return message
    return None
