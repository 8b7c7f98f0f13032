# -*- test-case-name: tests.cli.test_explain -*-
"""The trace of a decision as plain values: what programs get, and what the running broker answers with."""

from __future__ import annotations

from typing import Any

from mqttsecure.core.decisions import Source
from mqttsecure.interfaces import Advice, NearRule
from mqttsecure.policy.trace import Answer, Explanation
from mqttsecure.service.scenario import Trial

__all__ = ["advice_as_json", "explanation_as_json", "source_as_json", "trial_as_json"]


def trial_as_json(trial: Trial) -> dict[str, Any]:
    """A scenario with all that came of it."""
    verdict = trial.last.verdict
    facts, scenario = trial.facts, trial.scenario
    return {
        "outcome": trial.outcome.value,
        "action": scenario.action,
        "topic": scenario.topic or None,
        "qos": scenario.qos,
        "retain": scenario.retain,
        "listener": trial.listener,
        "peer": None if scenario.peer is None else str(facts.peer.address or facts.peer),
        "client_id": facts.client_id or None,
        "username": facts.username,
        "principal": None if facts.principal is None else str(facts.principal),
        "groups": sorted(facts.groups),
        "decided_at": trial.last.stage.value,
        "policy": trial.last.decider or None,
        "rule": verdict.rule or None,
        "source": source_as_json(verdict.source),
        "reason_code": verdict.reason_code,
        "text": verdict.text,
        "conditions": [{"stage": stage.value, "policy": policy} for stage, policy in trial.conditions],
        "stages": [explanation_as_json(each) for each in trial.stages],
        "skipped": [{"stage": stage.value, "why": why} for stage, why in trial.skipped],
        "assumed": list(trial.assumed),
        "advice": {policy: advice_as_json(each) for policy, each in trial.advice.items()},
    }


def explanation_as_json(explanation: Explanation) -> dict[str, Any]:
    """One stage."""
    verdict = explanation.verdict
    return {
        "stage": explanation.stage.value,
        "outcome": explanation.outcome.value,
        "effect": verdict.effect.value,
        "policy": explanation.decider or None,
        "rule": verdict.rule or None,
        "source": source_as_json(verdict.source),
        "reason_code": verdict.reason_code,
        "text": verdict.text,
        "conditions": list(explanation.conditions),
        "obligations": [repr(obligation) for obligation in verdict.obligations],
        "answers": [_answer(answer) for answer in explanation.answers],
    }


def source_as_json(source: Source | None) -> dict[str, Any] | None:
    """File and line."""
    return None if source is None else {"file": source.file, "line": source.line}


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "policy": answer.policy,
        "status": answer.status.value,
        "effect": answer.effect,
        "rule": answer.decision.rule if answer.decision is not None else "",
        "text": answer.note,
        "source": source_as_json(answer.source),
    }


def advice_as_json(advice: Advice) -> dict[str, Any]:
    """What would turn a denial, of one policy."""
    return {
        "add": advice.add or None,
        "where": source_as_json(advice.where),
        "remove": [_near(each) for each in advice.remove],
        "near": [_near(each) for each in advice.near],
    }


def _near(near: NearRule) -> dict[str, Any]:
    return {"rule": near.rule, "source": source_as_json(near.source), "text": near.text, "why": near.why}
