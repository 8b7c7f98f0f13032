# -*- test-case-name: tests.cli.test_explain -*-
"""How the trace of a decision is shown: for people, in order and with the decider marked, and for programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from mqttsecure.core.decisions import Source, Stage
from mqttsecure.interfaces import Advice, NearRule
from mqttsecure.policy.trace import Answer, Explanation, Outcome
from mqttsecure.service.scenario import Trial

__all__ = ["print_trial", "trial_as_json", "trial_lines"]

_STYLES: Final = {"permit": "green", "deny": "red", "abstain": "dim", "unknown": "yellow", "not asked": "dim"}
_OUTCOMES: Final = {
    Outcome.PERMIT: ("PERMIT", "bold green"),
    Outcome.DENY: ("DENY", "bold red"),
    Outcome.PROVIDED: ("PERMIT provided that", "bold yellow"),
}


def print_trial(trial: Trial) -> None:
    """The whole trace on stdout, with colour on a terminal."""
    console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
    for line in trial_lines(trial):
        console.print(line)


def trial_lines(trial: Trial) -> list[Text]:
    """The trace, line by line; names are shown as they are, whatever brackets they hold."""
    lines = [Text(_head(trial)), Text()]
    skipped = dict(trial.skipped)
    told = {each.stage: each for each in trial.stages}
    for stage in Stage:
        if stage in told:
            lines += _stage_lines(told[stage])
        elif stage in skipped:
            lines.append(Text(f"{stage.value}  not judged: {skipped[stage]}", "dim"))
    lines += [Text(), *_outcome_lines(trial)]
    for policy, advice in trial.advice.items():
        lines += _advice_lines(policy, advice)
    if trial.assumed:
        lines += [Text(), Text("assumed:")]
        lines += [Text(f"  {_plain(text)}") for text in trial.assumed]
    return lines


def _head(trial: Trial) -> str:
    facts, scenario = trial.facts, trial.scenario
    who = str(facts.principal or facts.username or "someone")
    groups = f" in {', '.join(sorted(facts.groups))}" if facts.groups else ""
    client = f" as {facts.client_id!r}" if facts.client_id else ""
    peer = f" from {facts.peer.address or facts.peer}" if scenario.peer is not None else ""
    what = scenario.action
    if scenario.topic:
        what += f" {scenario.topic} qos {scenario.qos}{' retain' if scenario.retain else ''}"
    return _plain(f"{who}{groups}{client}{peer} on {trial.listener}: {what}")


def _plain(text: str) -> str:
    """Text from outside without control characters, which a terminal would obey."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)


def _place(source: Source | None) -> str:
    """File and line, the file as someone in this folder would name it."""
    if source is None:
        return ""
    path = Path(source.file)
    shown = os.path.relpath(path) if path.is_absolute() else source.file
    return f"{source.file if shown.startswith('..') else shown}:{source.line}"


def _stage_lines(explanation: Explanation) -> list[Text]:
    lines = [Text(explanation.stage.value, "bold")]
    width = max((len(each.policy) for each in explanation.answers), default=0)
    for answer in explanation.answers:
        line = Text(f"  {answer.policy:<{width}}  ")
        line.append(f"{answer.effect:<11}", _STYLES.get(answer.effect, ""))
        line.append(_plain(_words(answer)))
        if answer.policy == explanation.decider and answer.effect == explanation.verdict.effect.value:
            line.append("  <- decides", "bold")
        lines.append(line)
    if not explanation.answers:
        lines.append(Text("  no policy is asked here", "dim"))
    return lines


def _words(answer: Answer) -> str:
    decision = answer.decision
    rule = f"{decision.rule}: " if decision is not None and decision.rule else ""
    mark = " (assumed)" if answer.status.value == "assumed" else ""
    place = _place(answer.source)
    return f"{rule}{answer.note}{mark}{f'  [{place}]' if place else ''}"


def _outcome_lines(trial: Trial) -> list[Text]:
    words, style = _OUTCOMES[trial.outcome]
    if trial.outcome is Outcome.PERMIT:
        return [Text(words, style)]
    if trial.outcome is Outcome.PROVIDED:
        lines = [Text(f"{words}:", style)]
        return lines + [Text(f"  {policy} sees it so, at {stage.value}") for stage, policy in trial.conditions]
    last = trial.last
    verdict = last.verdict
    by = f"by {last.decider}" if last.decider else "by default"
    rule = f", {verdict.rule}" if verdict.rule else ""
    place = f" [{_place(verdict.source)}]" if verdict.source else ""
    line = Text(words, style)
    line.append(_plain(f" at {last.stage.value} {by}{rule}{place}, Reason Code 0x{verdict.reason_code:02x}"))
    return [line]


def _advice_lines(policy: str, advice: Advice) -> list[Text]:
    lines: list[Text] = []
    if advice.add:
        place = _place(advice.where)
        lines.append(Text(f"to permit it, add to the rules of {policy}{f' (after {place})' if place else ''}:"))
        lines.append(Text(f"  {_plain(advice.add)}", "cyan"))
    if advice.remove:
        lines.append(Text(f"to permit it, narrow or remove in {policy}:"))
        lines += [_near_line(each, with_why=False) for each in advice.remove]
    if advice.near:
        lines.append(Text(f"almost, in {policy}:"))
        lines += [_near_line(each, with_why=True) for each in advice.near]
    return lines


def _near_line(near: NearRule, *, with_why: bool) -> Text:
    place = _place(near.source)
    return Text(
        _plain(f"  {near.rule}{f' [{place}]' if place else ''}: {near.text}{f'; {near.why}' if with_why else ''}")
    )


def trial_as_json(trial: Trial) -> dict[str, Any]:
    """The same for programs."""
    verdict = trial.last.verdict
    facts = trial.facts
    return {
        "outcome": trial.outcome.value,
        "listener": trial.listener,
        "principal": None if facts.principal is None else str(facts.principal),
        "groups": sorted(facts.groups),
        "decided_at": trial.last.stage.value,
        "policy": trial.last.decider or None,
        "rule": verdict.rule or None,
        "source": _source_as_json(verdict.source),
        "reason_code": verdict.reason_code,
        "text": verdict.text,
        "conditions": [{"stage": stage.value, "policy": policy} for stage, policy in trial.conditions],
        "stages": [
            {
                "stage": each.stage.value,
                "outcome": each.outcome.value,
                "policy": each.decider or None,
                "obligations": [repr(obligation) for obligation in each.verdict.obligations],
                "answers": [_answer_as_json(answer) for answer in each.answers],
            }
            for each in trial.stages
        ],
        "skipped": [{"stage": stage.value, "why": why} for stage, why in trial.skipped],
        "assumed": list(trial.assumed),
        "advice": {policy: _advice_as_json(each) for policy, each in trial.advice.items()},
    }


def _source_as_json(source: Source | None) -> dict[str, Any] | None:
    return None if source is None else {"file": source.file, "line": source.line}


def _answer_as_json(answer: Answer) -> dict[str, Any]:
    return {
        "policy": answer.policy,
        "status": answer.status.value,
        "effect": answer.effect,
        "rule": answer.decision.rule if answer.decision is not None else "",
        "text": answer.note,
        "source": _source_as_json(answer.source),
    }


def _advice_as_json(advice: Advice) -> dict[str, Any]:
    return {
        "add": advice.add or None,
        "remove": [_near_as_json(each) for each in advice.remove],
        "near": [_near_as_json(each) for each in advice.near],
    }


def _near_as_json(near: NearRule) -> dict[str, Any]:
    return {"rule": near.rule, "source": _source_as_json(near.source), "text": near.text, "why": near.why}
