# -*- test-case-name: tests.cli.test_explain -*-
"""How the trace of a decision is shown to people: in order, and with the decider marked.

It is drawn from the plain values that programs get, so that what the running broker answers is shown the same way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from mqttsecure.core.decisions import Stage
from mqttsecure.service.scenario import Trial
from mqttsecure.service.trace_json import trial_as_json

__all__ = [
    "advice_lines",
    "place_of",
    "plain",
    "print_lines",
    "print_trial",
    "stage_lines",
    "trace_lines",
    "trial_as_json",
    "trial_lines",
    "verdict_line",
]

_STYLES: Final = {"permit": "green", "deny": "red", "abstain": "dim", "unknown": "yellow", "not asked": "dim"}
_OUTCOMES: Final = {
    "permit": ("PERMIT", "bold green"),
    "deny": ("DENY", "bold red"),
    "provided": ("PERMIT provided that", "bold yellow"),
}


def print_trial(trial: Trial) -> None:
    """The whole trace on stdout, with colour on a terminal."""
    print_lines(trial_lines(trial))


def print_lines(lines: Iterable[Text]) -> None:
    """Lines on stdout, with colour on a terminal."""
    console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
    for line in lines:
        console.print(line)


def trial_lines(trial: Trial) -> list[Text]:
    """The trace of a trial, line by line."""
    return trace_lines(trial_as_json(trial))


def trace_lines(trace: dict[str, Any]) -> list[Text]:
    """The same of plain values; names are shown as they are, whatever brackets they hold."""
    lines = [Text(_head(trace)), Text()]
    skipped = {each["stage"]: each["why"] for each in trace["skipped"]}
    told = {each["stage"]: each for each in trace["stages"]}
    for stage in Stage:
        if stage.value in told:
            lines += stage_lines(told[stage.value])
        elif stage.value in skipped:
            lines.append(Text(f"{stage.value}  not judged: {plain(skipped[stage.value])}", "dim"))
    lines += [Text(), *_outcome_lines(trace)]
    for policy, advice in trace["advice"].items():
        lines += advice_lines(policy, advice)
    if trace["assumed"]:
        lines += [Text(), Text("assumed:")]
        lines += [Text(f"  {plain(text)}") for text in trace["assumed"]]
    return lines


def _head(trace: dict[str, Any]) -> str:
    who = trace["principal"] or trace["username"] or "someone"
    groups = f" in {', '.join(trace['groups'])}" if trace["groups"] else ""
    client = f" as {trace['client_id']!r}" if trace["client_id"] else ""
    peer = f" from {trace['peer']}" if trace["peer"] else ""
    what = trace["action"]
    if trace["topic"]:
        what += f" {trace['topic']} qos {trace['qos']}{' retain' if trace['retain'] else ''}"
    return plain(f"{who}{groups}{client}{peer} on {trace['listener']}: {what}")


def plain(text: str) -> str:
    """Text from outside without control characters, which a terminal would obey."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)


def place_of(source: dict[str, Any] | None) -> str:
    """File and line, the file as someone in this folder would name it."""
    if source is None:
        return ""
    file = str(source["file"])
    shown = os.path.relpath(file) if Path(file).is_absolute() else file
    return plain(f"{file if shown.startswith('..') else shown}:{source['line']}")


def stage_lines(stage: dict[str, Any]) -> list[Text]:
    """One stage: every policy, what it answers, and which of them decides."""
    answers = stage["answers"]
    lines = [Text(stage["stage"], "bold")]
    width = max((len(each["policy"]) for each in answers), default=0)
    for answer in answers:
        line = Text(f"  {answer['policy']:<{width}}  ")
        line.append(f"{answer['effect']:<11}", _STYLES.get(answer["effect"], ""))
        line.append(plain(_words(answer)))
        if answer["policy"] == stage["policy"] and answer["effect"] == stage["effect"]:
            line.append("  <- decides", "bold")
        lines.append(line)
    if not answers:
        lines.append(Text("  no policy is asked here", "dim"))
    return lines


def _words(answer: dict[str, Any]) -> str:
    rule = f"{answer['rule']}: " if answer["rule"] else ""
    mark = " (assumed)" if answer["status"] == "assumed" else ""
    place = place_of(answer["source"])
    return f"{rule}{answer['text']}{mark}{f'  [{place}]' if place else ''}"


def _outcome_lines(trace: dict[str, Any]) -> list[Text]:
    words, style = _OUTCOMES[trace["outcome"]]
    if trace["outcome"] == "permit":
        return [Text(words, style)]
    if trace["outcome"] == "provided":
        conditions = trace["conditions"]
        return [
            Text(f"{words}:", style),
            *(Text(f"  {each['policy']} sees it so, at {each['stage']}") for each in conditions),
        ]
    return [verdict_line(trace["stages"][-1])]


def verdict_line(stage: dict[str, Any]) -> Text:
    """The outcome of one stage with who decided it."""
    words, style = _OUTCOMES[stage["outcome"]]
    line = Text(words, style)
    if stage["outcome"] == "provided":
        line.append(f" {', '.join(stage['conditions'])} {'see' if len(stage['conditions']) > 1 else 'sees'} it so")
        return line
    by = f"by {stage['policy']}" if stage["policy"] else "by default"
    rule = f", {stage['rule']}" if stage["rule"] else ""
    place = f" [{place_of(stage['source'])}]" if stage["source"] else ""
    code = f", Reason Code 0x{stage['reason_code']:02x}" if stage["outcome"] == "deny" else ""
    line.append(plain(f" at {stage['stage']} {by}{rule}{place}{code}"))
    return line


def advice_lines(policy: str, advice: dict[str, Any]) -> list[Text]:
    """What would turn a denial: the rule to add, those to remove, and those that almost permit."""
    lines: list[Text] = []
    if advice["add"]:
        place = place_of(advice["where"])
        lines.append(Text(f"to permit it, add to the rules of {policy}{f' (after {place})' if place else ''}:"))
        lines.append(Text(f"  {plain(advice['add'])}", "cyan"))
    if advice["remove"]:
        lines.append(Text(f"to permit it, narrow or remove in {policy}:"))
        lines += [_near_line(each, with_why=False) for each in advice["remove"]]
    if advice["near"]:
        lines.append(Text(f"almost, in {policy}:"))
        lines += [_near_line(each, with_why=True) for each in advice["near"]]
    return lines


def _near_line(near: dict[str, Any], *, with_why: bool) -> Text:
    place = place_of(near["source"])
    why = f"; {near['why']}" if with_why else ""
    return Text(plain(f"  {near['rule']}{f' [{place}]' if place else ''}: {near['text']}{why}"))
