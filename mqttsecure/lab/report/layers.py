# -*- test-case-name: tests.lab.report.test_ladder -*-
"""What lies in what (lab row C1): frames, TCP, TLS and MQTT as boxes in boxes, with the bytes of this capture."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.model import Connection
from mqttsecure.lab.report.html import Markup, in_picture, tag
from mqttsecure.lab.report.ladder import NARROW
from mqttsecure.lab.text import frame_of_one_record

__all__ = ["draw_layers", "layers_of", "one_frame"]

_RECORD_HEADER: Final = 5


def layers_of(connection: Connection) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Each layer from the outside in: its name, and what of it is in the capture, in both languages."""
    lengths = connection.frame_lengths
    frames, octets = len(lengths), sum(lengths.values())
    payload = sum(connection.tcp.bytes.values())
    found = [
        (
            ("Link, IP", "链路层、IP"),
            (f"{frames} frames with content, {octets:,} bytes", f"有内容的帧 {frames} 个，共 {octets:,} 字节"),
        ),
        (("TCP", "TCP"), (f"{payload:,} bytes carried, both ways", f"双向共承载 {payload:,} 字节")),
    ]
    if connection.records:
        records, bodies = len(connection.records), sum(each.length for each in connection.records)
        headers = records * _RECORD_HEADER
        found.append(
            (
                ("TLS", "TLS"),
                (
                    f"{records} records: {bodies:,} bytes + {headers:,} of headers",
                    f"{records} 条记录：{bodies:,} 字节，另加记录头 {headers:,} 字节",
                ),
            )
        )
    packets = [each for each in connection.messages if each.layer == "mqtt"]
    if packets:
        size = sum(each.length for each in packets)
        found.append(
            (("MQTT", "MQTT"), (f"{len(packets)} packets, {size:,} bytes", f"{len(packets)} 个报文，{size:,} 字节"))
        )
    elif connection.records:
        hidden = ("cannot be seen without keys, or nothing was sent", "没有密钥则不可见，或没有发送任何数据")
        found.append((("MQTT", "MQTT"), hidden))
    return found


def draw_layers(connection: Connection) -> Markup:
    """The picture."""
    layers = layers_of(connection)
    height = 48 * len(layers) + 8 * len(layers)
    parts = []
    for depth, (name, words) in enumerate(layers):
        x, y = 6 * depth + 1, 48 * depth + 1
        parts.append(tag("rect", class_="box", x=x, y=y, rx=5, width=NARROW - 2 * x, height=height - y - 6 * depth - 1))
        parts.append(tag("text", in_picture(name), x=x + 10, y=y + 20, class_="head"))
        parts.append(tag("text", in_picture(words), x=x + 10, y=y + 38, class_="small"))
    title = tag("title", "Layers of connection ", connection.number)
    return tag("svg", title, *parts, viewBox=f"0 0 {NARROW} {height}", role="img", class_="layers")


def one_frame(connection: Connection) -> tuple[str, str] | None:
    """The bytes of the first frame that holds one record alone, layer by layer; None where there is no such frame."""
    found = frame_of_one_record(connection)
    if found is None:
        return None
    record, length, below = found
    frame = record.frames[0]
    return (
        f"Frame {frame}: {length} bytes = {below} of link, IP and TCP headers + {_RECORD_HEADER} of the TLS record's "
        f"header + {record.length} of the handshake message.",
        f"第 {frame} 帧：{length} 字节 = 链路层、IP 与 TCP 头部 {below} 字节 + TLS 记录头 {_RECORD_HEADER} 字节"
        f" + 握手消息 {record.length} 字节。",
    )
