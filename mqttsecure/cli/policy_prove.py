# -*- test-case-name: tests.cli.test_policy_prove -*-
"""``mqttsecure policy prove``: what someone never, or always, may do, for all topics at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from mqttsecure.cli.offline import assemble, config_option
from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems
from mqttsecure.core.decisions import Action
from mqttsecure.errors import ConfigError
from mqttsecure.service.clients import Who, parse_who
from mqttsecure.service.proof import Answer, Claim, Counterexample, Proof, prove

__all__ = ["EXIT_OF_ANSWER", "prove_claim"]

EXIT_OF_ANSWER: Final = {Answer.HOLDS: 0, Answer.FAILS: 1, Answer.PROVIDED: 3, Answer.UNPROVED: 4}
_ACTIONS: Final = click.Choice([action.value for action in Action])
_RETAIN: Final = {"yes": True, "no": False, None: None}


def _who(_: click.Context, __: click.Parameter, value: str) -> Who:
    try:
        return parse_who(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("prove")
@config_option
@click.option("--who", required=True, callback=_who, help="user:NAME, group:NAME, user:AUTHORITY:NAME or everyone.")
@click.option("--never", nargs=2, type=(_ACTIONS, str), metavar="ACTION FILTER", help="It may do that to no topic.")
@click.option("--always", nargs=2, type=(_ACTIONS, str), metavar="ACTION FILTER", help="It may do that to each topic.")
@click.option("--listener", help="On that listener; default: on each.")
@click.option("--qos", type=click.IntRange(0, 2), help="At that QoS; default: at any.")
@click.option("--retain", type=click.Choice(["yes", "no"]), help="With or without RETAIN; default: either.")
@click.option("--client-id", help="With that Client Identifier; default: any.")
@click.option("--group", "groups", multiple=True, help="A group that it is in, too.")
@json_option
@click.pass_context
def prove_claim(context: click.Context, /, config: Path, as_json: bool, **options: Any) -> None:
    """Decide for all topics there are whether someone never, or always, may publish to, subscribe to or receive
    what matches FILTER. Where that fails a topic is shown, with who decides it.

    It is decided by what policies say they grant: `topic-acl`, and others that tell. What a policy only restricts does
    not matter to --never. Whose grants are not known makes the answer "cannot be proved".
    FILTER `#` holds no topic that begins with $: ask for `$SYS/#` apart.

    \b
    Examples:
      mqttsecure policy prove -c etc/broker.toml --who group:guests --never publish 'plant/#'
      mqttsecure policy prove -c etc/broker.toml --who everyone --never receive 'people/+/private/#'
      mqttsecure policy prove -c etc/broker.toml --who user:alice --always publish 'lab/#' --qos 1

    Exit codes: 0 it holds, 1 it fails, or a problem told on stderr, 2 the command line makes no sense, 3 it holds
    provided that the policies named do not deny, 4 it cannot be proved.
    """
    if (options["never"] is None) == (options["always"] is None):
        raise click.UsageError("give one of --never ACTION FILTER and --always ACTION FILTER")
    always = options["always"] is not None
    action, topic_filter = options["always"] if always else options["never"]
    claim = Claim(
        options["who"],
        always,
        Action(action),
        topic_filter,
        options["listener"],
        options["qos"],
        _RETAIN[options["retain"]],
        options["client_id"],
        frozenset(options["groups"]),
    )
    try:
        proof = prove(assemble(config), claim)
    except ConfigError as error:
        print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)
    if as_json:
        print_json(_as_json(proof))
    else:
        _print(proof)
    context.exit(EXIT_OF_ANSWER[proof.answer])


def _sentence(claim: Claim) -> str:
    at = "" if claim.qos is None else f" at qos {claim.qos}"
    word = "always" if claim.always else "never"
    return f"{claim.who} {word} {claim.action.value} {claim.topic_filter}{at}"


_WORDS: Final = {
    Answer.HOLDS: "HOLDS",
    Answer.FAILS: "FAILS",
    Answer.PROVIDED: "HOLDS provided that",
    Answer.UNPROVED: "cannot be proved",
}


def _print(proof: Proof) -> None:
    click.echo(f"{_sentence(proof.claim)}: {_WORDS[proof.answer]}")
    for reason in proof.reasons:
        click.echo(f"  {reason}")
    if proof.counterexample is not None:
        _print_counterexample(proof.counterexample, proof.claim)
    click.echo(f"judged for: {'; '.join(proof.judged)}")
    click.echo(f"on listener: {', '.join(proof.listeners)}")
    click.echo(f"by what they grant: {', '.join(proof.reasoned) or 'no policy'}")
    if proof.unknown:
        click.echo(f"not known: {', '.join(proof.unknown)}")


def _print_counterexample(found: Counterexample, claim: Claim) -> None:
    effect = "is refused" if claim.always else "may"
    client = f" as {found.client_id!r}" if found.client_id else ""
    retain = " retain" if found.retain else ""
    click.echo(
        f"  {found.who}{client} on {found.listener} {effect} {claim.action.value} {found.topic} qos {found.qos}{retain}"
    )
    by = "/".join(part for part in (found.policy, found.rule) if part) or "default"
    place = f" [{found.source}]" if found.source else ""
    click.echo(f"  by {by}{place}: {found.text}")


def _as_json(proof: Proof) -> dict[str, Any]:
    found = proof.counterexample
    return {
        "claim": _sentence(proof.claim),
        "answer": proof.answer.value,
        "judged": list(proof.judged),
        "listeners": list(proof.listeners),
        "reasoned": list(proof.reasoned),
        "unknown": list(proof.unknown),
        "reasons": list(proof.reasons),
        "counterexample": None
        if found is None
        else {
            "who": found.who,
            "client_id": found.client_id or None,
            "listener": found.listener,
            "topic": found.topic,
            "qos": found.qos,
            "retain": found.retain,
            "policy": found.policy or None,
            "rule": found.rule or None,
            "source": None if found.source is None else {"file": found.source.file, "line": found.source.line},
            "text": found.text,
        },
    }
