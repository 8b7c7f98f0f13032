# -*- test-case-name: tests.lab.report.test_lab_page -*-
"""The report of a lab: its runs with all connections, what firewall and policies did, the attacks, the corrections."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from mqttsecure.lab.experiment.record import LabRecord, RunRecord
from mqttsecure.lab.report.comparison import comparison, this_row
from mqttsecure.lab.report.connection import connection_section, verdict_of
from mqttsecure.lab.report.html import Markup, both, escaped, join, phrase, table, tag
from mqttsecure.lab.report.messages import place
from mqttsecure.lab.report.page import MOST_CONNECTIONS, best_corrections, corrections, history, page

__all__ = ["lab_page"]

_OUTCOMES: Final = {
    "resisted": ("ok", ("resisted", "已抵御")),
    "not tried": ("unknown", ("not tried", "未尝试")),
    "unclear": ("unknown", ("unclear", "不明确")),
    "succeeded": ("bad", ("SUCCEEDED", "攻击成功")),
}


def lab_page(record: LabRecord) -> str:
    """The whole page."""
    connections = [connection for run in record.runs for connection in run.reading.connections]
    rows = [
        row
        for run in record.runs
        for each in run.reading.connections
        if (row := this_row(each, _place(run, each.number))) is not None
    ]
    title = f"Lab report: {record.folder.name}", f"实验报告：{record.folder.name}"
    return page(
        title,
        (
            _verdicts(record),
            *(_run(each) for each in record.runs),
            comparison(rows[:MOST_CONNECTIONS]),
            _attacks(record.attacks),
            _denials(record.decisions),
            corrections(best_corrections(connections)),
            history(),
        ),
    )


def _place(run: RunRecord, number: int) -> tuple[str, str]:
    return f"run {run.number}, connection {number}", f"第 {run.number} 次运行，连接 {number}"


def _verdicts(record: LabRecord) -> Markup:
    """All runs, a line each."""
    parts = []
    for run in record.runs:
        parts.append(tag("h3", both(f"Run {run.number}", f"第 {run.number} 次运行"), ": ", _options(run)))
        for each in run.reading.connections[:MOST_CONNECTIONS]:
            ends = tag("a", f"{each.client} → {each.server}", href=f"#{place(each, run.number)}")
            parts += [tag("p", f"{each.number}. ", ends), verdict_of(each)]
    return join(parts)


def _options(run: RunRecord) -> Markup:
    options = run.summary.get("options", {})
    chosen = [name if value is True else f"{name} {value}" for name, value in options.items() if value]
    return escaped(", ".join(chosen)) if chosen else both("as it comes", "默认设置")


def _run(run: RunRecord) -> Markup:
    summary = run.summary
    visible = summary.get("password_visible")
    published, received = len(summary.get("published", ())), len(summary.get("received", ()))
    told = both(
        f"{summary.get('time', '')}: {published} messages published, {received} received, {run.reading.frames} frames. "
        f"A password is {'' if visible else 'not '}readable in them.",
        f"{summary.get('time', '')}：发布 {published} 条消息，收到 {received} 条，{run.reading.frames} 帧。"
        f"其中密码{'可以' if visible else '无法'}读出。",
    )
    sections = [connection_section(each, run.number) for each in run.reading.connections[:MOST_CONNECTIONS]]
    return tag(
        "section",
        tag("h2", both(f"Run {run.number}", f"第 {run.number} 次运行"), ": ", _options(run)),
        tag("p", told, class_="bad" if visible else None),
        *(tag("p", f"{who}: {text}", class_="bad") for who, text in summary.get("failures", {}).items()),
        *(tag("p", each.text) for each in run.reading.tunnels),
        *sections,
        _counters(summary.get("counters") or []),
        class_="run",
        id=f"run-{run.number}",
    )


def _counters(counters: list[dict[str, Any]]) -> Markup | None:
    """What the firewall counted; None where there is none."""
    if not counters:
        return None
    rows = [
        (each["chain"], each["comment"], each["verdict"], f"{each['packets']:,}", f"{each['bytes']:,}")
        for each in counters
    ]
    heads = (
        ("chain", "链"),
        ("rule", "规则"),
        ("verdict", "裁决"),
        ("packets", "包数"),
        ("bytes", "字节"),
    )
    note = both(
        "Counted by the kernel of the broker's host, in the rules that were made of the broker's own policy.",
        "由代理主机的内核计数；这些规则由代理自己的策略编译而来。",
    )
    return join((tag("h3", both("Firewall", "防火墙")), tag("p", note, class_="soft"), table(heads, rows)))


def _attacks(tables: list[dict[str, Any]]) -> Markup | None:
    if not tables:
        return None
    parts = []
    heads = (
        ("row", "编号"),
        ("attack", "攻击"),
        ("outcome", "结果"),
        ("seen", "观察到"),
        ("a secure broker", "安全的代理"),
    )
    for each in tables:
        rows = []
        for result in each["results"]:
            style, words = _OUTCOMES.get(result["outcome"], ("unknown", (result["outcome"],) * 2))
            outcome = tag("b", phrase(words), class_=style)
            rows.append((result["row"], result["attack"], outcome, result["seen"], result["required"]))
        parts += [tag("h3", f"{each['target']}, {each['time']}"), table(heads, rows, class_="attacks")]
    note = both(
        "A man in the middle gets something only where the client does not verify: a client of ours refuses before its "
        "first byte of MQTT. Pinning and client certificates help where no authority can be trusted.",
        "只有当客户端不验证证书时，中间人才能得手：我们的客户端在发送第一个 MQTT 字节之前就拒绝。没有可信颁发机构时，"
        "可以使用证书固定和客户端证书。",
    )
    return tag("section", tag("h2", both("Attacks", "攻击")), tag("p", note), *parts, id="attacks")


def _denials(decisions: list[dict[str, Any]]) -> Markup | None:
    """What the policies refused, the same denials counted."""
    if not decisions:
        return None
    counted = Counter(
        (each.get("stage", ""), each.get("policy") or "default deny", each.get("line") or "", each.get("text", ""))
        for each in decisions
    )
    rows = [(*map(escaped, key), count) for key, count in counted.most_common()]
    heads = (
        ("stage", "阶段"),
        ("policy", "策略"),
        ("line", "行"),
        ("why", "原因"),
        ("times", "次数"),
    )
    return tag(
        "section",
        tag("h2", both("Denials of the policies", "策略的拒绝")),
        table(heads, rows, class_="denials"),
        id="denials",
    )
