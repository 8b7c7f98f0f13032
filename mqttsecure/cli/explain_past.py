# -*- test-case-name: tests.cli.test_explain_past -*-
"""``mqttsecure explain --id``: a decision of the past out of the audit log, and the same question today."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from rich.text import Text

from mqttsecure.cli.offline import assemble
from mqttsecure.cli.output import print_json
from mqttsecure.cli.trace_output import advice_lines, place_of, plain, print_lines, stage_lines, verdict_line
from mqttsecure.errors import ConfigError
from mqttsecure.service.audit_reading import AuditReader
from mqttsecure.service.config import read_config
from mqttsecure.service.recorded import Again, NotComparable, ask_again, is_decision
from mqttsecure.service.trace_json import advice_as_json, explanation_as_json

__all__ = ["audit_file_of", "explain_past", "record_lines"]

_OF_CERTIFICATE: Final = {"issuer": "issued by", "serial": "serial", "expires": "valid until"}

_STYLES: Final = {"permit": "bold green", "deny": "bold red"}


def audit_file_of(config: Path) -> Path:
    """The audit log of a configuration, whatever else may be wrong with it.

    Raises:
        ConfigError: it has none.
    """
    found, problems = read_config(config)
    if found.audit is None:
        problems.raise_if_any()
        raise ConfigError(f'{config}: no audit log is configured; add [audit] with file = "audit.jsonl"')
    return found.audit.file


def explain_past(config: Path, decision: str, *, as_json: bool) -> str:
    """Tell what was decided, and what the configuration says today.

    Returns:
        "permit" or "deny", as it was then.

    Raises:
        ConfigError: there is no such record, or the log cannot be read.
    """
    record, more = _find(audit_file_of(config), decision)
    again: Again | None = None
    try:
        again, why_not = ask_again(assemble(config), record), ""
    except NotComparable as error:
        why_not = str(error)
    except ConfigError as error:
        why_not = f"the configuration cannot be used now: {error.problems[0]}"
    if as_json:
        print_json(_as_json(record, more, again, why_not))
    else:
        print_lines([*record_lines(record), *_shadow_lines(more), Text(), *_today_lines(record, again, why_not)])
    return str(record.get("effect"))


def _find(file: Path, decision: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The record of that decision, and what differs from it in a shadow."""
    reader = AuditReader(file)
    found = [each for each in reader.records(decision) if each.get("decision") == decision]
    decisions = [each for each in found if is_decision(each)]
    shadows = [each for each in found if each.get("kind") == "shadow"]
    if not decisions and not shadows:
        since = f", from {reader.since} on" if reader.since else ""
        raise ConfigError(
            f"{file}: no decision {decision!r} among {reader.read} records{since}; older ones are gone, and permits "
            "are recorded only where `[audit] permits` asks for them"
        )
    return (decisions or shadows)[-1], shadows


def record_lines(record: dict[str, Any]) -> list[Text]:
    """A recorded decision for people."""
    who = str(record.get("principal") or record.get("username") or "someone")
    claim = "" if record.get("principal") or not record.get("username") else " (not proved)"
    groups = f" in {', '.join(record['groups'])}" if record.get("groups") else ""
    client = f" as {record['client_id']!r}" if record.get("client_id") else ""
    lines = [
        Text(plain(f"{record.get('time')}  decision {record.get('decision')}")),
        Text(plain(f"{who}{claim}{groups}{client} from {record.get('peer')} on {record.get('listener')}")),
        Text(plain(f"asked: {_what(record)}")),
    ]
    tls = record.get("tls")
    if isinstance(tls, dict):
        lines.append(Text(plain(f"TLS: {tls.get('version')} {tls.get('cipher')}{_certificate(tls)}")))
    line = Text("then:  ")
    effect = str(record.get("effect"))
    line.append(effect.upper(), _STYLES.get(effect, ""))
    line.append(plain(f" {_decider(record)}, Reason Code 0x{int(record.get('reason_code', 0)):02x}"))
    lines.append(line)
    if record.get("text"):
        lines.append(Text(f"       {plain(str(record['text']))}"))
    if record.get("indeterminate"):
        lines.append(Text("       a policy failed, which is enforced as a denial; the log has more", "yellow"))
    return lines


def _certificate(tls: dict[str, Any]) -> str:
    if "subject" not in tls:
        return ""
    names = f" ({', '.join(map(str, tls['names']))})" if tls.get("names") else ""
    more = [f"{word} {tls[name]}" for name, word in _OF_CERTIFICATE.items() if name in tls]
    return f", certificate {tls['subject']}{names}{''.join(f', {each}' for each in more)}"


def _what(record: dict[str, Any]) -> str:
    if "topic" not in record:
        return str(record.get("stage"))
    share = f"$share/{record['share']}/" if record.get("share") else ""
    retain = " retain" if record.get("retain") else ""
    will = " (a will)" if record.get("will") else ""
    size = f", {record['size']} bytes" if record.get("size") else ""
    return f"{record.get('action')} {share}{record['topic']} qos {record.get('qos', 0)}{retain}{size}{will}"


def _decider(record: dict[str, Any]) -> str:
    by = f"by {record['policy']}" if record.get("policy") else "by default"
    rule = f", {record['rule']}" if record.get("rule") else ""
    place = f" [{place_of(record)}]" if record.get("file") else ""
    return f"at {record.get('stage')} {by}{rule}{place}"


def _shadow_lines(shadows: list[dict[str, Any]]) -> list[Text]:
    if not shadows or not isinstance(candidate := shadows[-1].get("candidate"), dict):
        return []
    said = {**shadows[-1], "policy": None, "rule": None, "file": None, **candidate}
    return [Text(plain(f"shadow: {str(candidate.get('effect')).upper()} {_decider(said)}"))]


def _today_lines(record: dict[str, Any], again: Again | None, why_not: str) -> list[Text]:
    if again is None:
        return [Text("today: "), Text(f"       not asked again: {plain(why_not)}", "yellow")]
    stage = explanation_as_json(again.explanation)
    lines = [*stage_lines(stage), Text()]
    head = Text("today: ")
    head.append_text(verdict_line(stage))
    lines.append(head)
    if again.assumed:
        lines.append(Text(plain(f"       provided that {', '.join(again.assumed)}")))
    if again.permitted == (record.get("effect") == "permit"):
        lines.append(Text("       as it was then", "dim"))
    else:
        lines.append(Text("       not as it was then", "yellow"))
    for policy, advice in again.advice.items():
        lines += advice_lines(policy, advice_as_json(advice))
    return lines


def _as_json(
    record: dict[str, Any], shadows: list[dict[str, Any]], again: Again | None, why_not: str
) -> dict[str, Any]:
    today: dict[str, Any] = {"comparable": again is not None}
    if again is None:
        today["why_not"] = why_not
    else:
        today |= explanation_as_json(again.explanation)
        today["assumed"] = list(again.assumed)
        today["advice"] = {policy: advice_as_json(each) for policy, each in again.advice.items()}
    return {"then": record, "shadow": shadows[-1].get("candidate") if shadows else None, "today": today}
