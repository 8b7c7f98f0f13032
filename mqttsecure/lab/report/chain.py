# -*- test-case-name: tests.lab.report.test_page -*-
"""The chain of certificates: who signed whom, what was checked, and how long each is valid, seen from the capture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from mqttsecure.lab.model import CertificateFacts, Connection, Outcome
from mqttsecure.lab.report.html import Markup, both, in_picture, join, phrase, tag
from mqttsecure.lab.report.ladder import NARROW
from mqttsecure.lab.report.messages import checks_list

__all__ = ["certificates"]

_MOST: Final = 10
"""Certificates of a chain that are shown: real ones have three."""
_EDGE: Final = 8
_DATES: Final = 160
"""Units that both dates take."""
_SPAN: Final = NARROW - 2 * _EDGE


def certificates(connection: Connection) -> Markup | None:
    """The chains of both ends; None where no certificate can be seen."""
    facts = connection.tls
    if facts is None:
        return None
    parts = []
    for heading, chain in (
        (both("Certificates of the server", "服务器的证书"), facts.server_certificates),
        (both("Certificates of the client", "客户端的证书"), facts.client_certificates),
    ):
        if chain:
            parts += [tag("h3", heading), _chain(chain, connection.start)]
    return join(parts) if parts else None


def _chain(chain: Sequence[CertificateFacts], time: float) -> Markup:
    shown = chain[:_MOST]
    moments = [time, *(each for one in shown for each in (_moment(one.not_before), _moment(one.not_after)) if each)]
    scale = min(moments), max(moments)
    cards: list[Markup] = []
    for number, each in enumerate(shown):
        if number:
            cards.append(tag("p", "↑ ", both("signed by the next one", "由下一张证书签发"), class_="soft link"))
        cards.append(_card(each, time, scale))
    if not shown[-1].self_issued:
        cards.append(
            tag(
                "p",
                "↑ ",
                both("issued by, not sent along: ", "颁发者（未随链发送）："),
                shown[-1].issuer,
                class_="soft link",
            )
        )
    return tag("div", *cards, class_="chain")


def _card(certificate: CertificateFacts, time: float, scale: tuple[float, float]) -> Markup:
    purpose = ", ".join(certificate.extended_key_usage) or ("CA" if certificate.is_ca else "–")
    rows = (
        (("Issuer", "颁发者"), certificate.issuer),
        (("Names (SAN)", "名称（SAN）"), ", ".join(certificate.san) or "–"),
        (("Key", "公钥"), certificate.key_text),
        (("Signature", "签名算法"), certificate.signature_algorithm),
        (("Purpose", "用途"), purpose),
        (("Serial", "序列号"), certificate.serial),
        (("SHA-256", "SHA-256 指纹"), certificate.sha256),
    )
    bad = any(each.outcome is Outcome.BAD for each in certificate.checks)
    return tag(
        "section",
        tag("h4", certificate.subject or "–"),
        _validity(certificate, time, scale),
        tag("dl", *(join((tag("dt", phrase(name)), tag("dd", value))) for name, value in rows)),
        checks_list(certificate.checks),
        class_="certificate wrong" if bad else "certificate",
    )


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _validity(certificate: CertificateFacts, time: float, scale: tuple[float, float]) -> Markup | None:
    """From when to when it is valid, on the scale of the whole chain, and where the capture lies."""
    start, end = _moment(certificate.not_before), _moment(certificate.not_after)
    if start is None or end is None:
        return None
    lowest, highest = scale
    unit = _SPAN / ((highest - lowest) or 1)
    left, right, now = (round(_EDGE + (each - lowest) * unit, 1) for each in (start, end, time))
    dates = f"{certificate.not_before[:10]} → {certificate.not_after[:10]}"
    valid = start <= time <= end
    anchor = "start" if now < NARROW / 2 else "end"
    day = datetime.fromtimestamp(time, UTC).date().isoformat()
    words = (f"capture {day}", f"抓包 {day}")
    return tag(
        "svg",
        tag("title", f"valid from {certificate.not_before} to {certificate.not_after}, captured {day}"),
        tag("text", dates, x=min(left, NARROW - _DATES), y=13, class_="small"),
        tag("line", class_="rail", x1=_EDGE, y1=26, x2=NARROW - _EDGE, y2=26),
        tag("rect", class_="bar" if valid else "bar outside", x=left, y=20, width=max(2, right - left), height=12),
        tag("line", class_="now", x1=now, y1=16, x2=now, y2=38),
        tag("text", in_picture(words), x=now, y=51, class_="small", text_anchor=anchor),
        viewBox=f"0 0 {NARROW} 56",
        role="img",
        class_="validity",
    )
