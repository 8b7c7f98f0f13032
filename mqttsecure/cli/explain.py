# -*- test-case-name: tests.cli.test_explain -*-
"""``mqttsecure explain``: what the chain says to one request, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mqttsecure.cli.explain_past import explain_past
from mqttsecure.cli.offline import assemble, config_option
from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems
from mqttsecure.cli.running import request, socket_of
from mqttsecure.cli.trace_output import print_lines, trace_lines
from mqttsecure.core.decisions import Peer, Principal
from mqttsecure.errors import ConfigError
from mqttsecure.policy.identity import parse_principal
from mqttsecure.policy.trace import Outcome
from mqttsecure.service.asking import scenario_as_json
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.assumed_certificate import (
    assumed_chain,
    certificate_chain,
    choose_authority,
    trusted_authorities,
)
from mqttsecure.service.scenario import ACTIONS, Scenario, judge, listener_of, parse_peer
from mqttsecure.service.trace_json import trial_as_json

__all__ = ["EXIT_OF_OUTCOME", "EXIT_PROVIDED", "explain"]

T = TypeVar("T")

EXIT_PROVIDED: Final = 3
"""Permitted, provided that policies which only the running broker can ask see it so."""

EXIT_OF_OUTCOME: Final = {Outcome.PERMIT: 0, Outcome.DENY: 1, Outcome.PROVIDED: EXIT_PROVIDED}

_VERSIONS: Final = {"3.1": 3, "3.1.1": 4, "5": 5, "5.0": 5}
_MAXIMUM_PAYLOAD: Final = 268_435_455
"""What the length of a packet can say (v5.0 section 2.1.4)."""


def _parsed(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """A click callback that reads a value; what it is not is a usage error."""

    def callback(_: click.Context, __: click.Parameter, value: str | None) -> T | None:
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def _attribute(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is no attribute; write name=value")
        found[name] = value
    return found


@click.command()
@config_option
@click.option("--from", "peer", callback=_parsed(parse_peer), help="Its address, or unix:UID.")
@click.option("--listener", help="The listener it comes to; needed where there are several.")
@click.option("--user", help="The user name it logs in with; its password is taken to be right.")
@click.option("--principal", callback=_parsed(parse_principal), help="Who it is, as AUTHORITY:NAME, however proved.")
@click.option("--group", "groups", multiple=True, help="A group it is in, beside those that are known.")
@click.option("--cert-cn", help="The common name of its certificate, made up as its authority might issue it.")
@click.option("--cert-authority", help="That authority; needed where the listener trusts several.")
@click.option("--cert", type=click.Path(dir_okay=False, path_type=Path), help="Its certificate, a PEM file.")
@click.option("--tls-version", type=click.Choice(["TLSv1.2", "TLSv1.3"]), help="Default: TLSv1.3.")
@click.option("--cipher", help="OpenSSL's name of the cipher suite.")
@click.option("--client-id", help="Its Client Identifier.")
@click.option("--version", type=click.Choice(sorted(_VERSIONS)), default="5", help="The MQTT version it speaks.")
@click.option("--attribute", "attributes", multiple=True, callback=_attribute, help="NAME=VALUE, known beforehand.")
@click.option("--qos", type=click.IntRange(0, 2), default=0, help="Of the message, or asked for by SUBSCRIBE.")
@click.option("--retain", is_flag=True, help="The message has RETAIN set.")
@click.option("--size", type=click.IntRange(0, _MAXIMUM_PAYLOAD), default=0, help="Bytes of its payload.")
@click.option("--id", "decision", help="Of a decision of the past: look it up in the audit log.")
@click.option("--live", is_flag=True, help="Ask the running broker over its control socket.")
@json_option
@click.argument("action", required=False, type=click.Choice(list(ACTIONS)))
@click.argument("topic", required=False, default="")
@click.pass_context
def explain(context: click.Context, /, config: Path, as_json: bool, **options: Any) -> None:
    """Put one request to the policy chain of a configuration and tell every policy asked, in order, what each
    answers, who decides and by which line; below a denial, the rule to add and those that almost permit it.

    ACTION is connect, publish, subscribe or receive; TOPIC is a Topic Filter for subscribe, else a Topic Name.
    Nothing is started and nobody is asked for a password: what is assumed is told. A policy that keeps counts is
    not asked, and is "unknown".

    With --live the running broker is asked, whose policies know their counts; nothing is counted. A client that is
    connected is asked about as the broker knows it if --client-id is all that is said of it.

    With --id, which a denial has in the log, it is what was decided then, by the audit log, and what the configuration
    says to the same question today.

    \b
    Examples:
      mqttsecure explain -c etc/broker.toml --user alice publish lab/1/temperature --qos 1
      mqttsecure explain -c etc/broker.toml --from 10.0.0.7 --listener tls --cert-cn pump-7 --group sensors \\
          --client-id pump-7 publish plant/pump-7/valve --retain
      mqttsecure explain -c etc/broker.toml --principal lab:alice subscribe 'lab/#'
      mqttsecure explain -c etc/broker.toml --from 192.0.2.7 connect --json | jq .outcome
      mqttsecure explain -c etc/broker.toml --live --client-id pump-7 publish plant/pump-7/valve
      mqttsecure explain -c etc/broker.toml --id l2x25id7-6

    Exit codes: 0 permitted (with --id: as it was then), 1 denied, or a problem told on stderr, 2 the command line makes
    no sense, 3 permitted provided that the policies named see it so.
    """
    decision = options["decision"]
    _check_usage(options)
    try:
        if decision is not None:
            context.exit(EXIT_OF_OUTCOME[Outcome(explain_past(config, decision, as_json=as_json))])
        trace = _ask_running(config, options) if options["live"] else _ask_offline(config, options)
    except ConfigError as error:
        print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)
    if as_json:
        print_json(trace)
    else:
        print_lines(trace_lines(trace))
    context.exit(EXIT_OF_OUTCOME[Outcome(trace["outcome"])])


def _check_usage(options: dict[str, Any]) -> None:
    if options["decision"] is not None:
        if options["action"] or options["live"]:
            raise click.UsageError("--id names the question; it goes with neither ACTION nor --live")
    elif options["action"] is None:
        raise click.UsageError(f"say what: {', '.join(ACTIONS)}; or the --id of a decision of the past")
    elif (options["action"] == "connect") == bool(options["topic"]):
        raise click.UsageError("connect takes no TOPIC; publish, subscribe and receive need one")


def _ask_offline(config: Path, options: dict[str, Any]) -> dict[str, Any]:
    assembly = assemble(config)
    return trial_as_json(judge(assembly, _scenario(assembly, options)))


def _ask_running(config: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The broker makes up its own mind; the file is read for its control socket, and for the CA of a certificate."""
    described = any(options[name] for name in ("peer", "listener", "user", "principal", "cert_cn", "cert"))
    scenario = _scenario(assemble(config) if options["cert"] or options["cert_cn"] else None, options)
    if not described and options["client_id"] is None:
        raise click.UsageError("say which client: --client-id of one that is connected, or more of one that might come")
    question = {"command": "explain", "scenario": scenario_as_json(scenario), "connected": not described}
    answer: dict[str, Any] = request(socket_of(config, None), question)
    return answer


def _scenario(assembly: Assembly | None, options: dict[str, Any]) -> Scenario:
    peer: Peer | None = options["peer"]
    principal: Principal | None = options["principal"]
    return Scenario(
        options["action"],
        options["topic"],
        options["qos"],
        options["retain"],
        options["size"],
        peer=peer,
        listener=options["listener"],
        principal=principal,
        username=options["user"],
        groups=frozenset(options["groups"]),
        client_id=options["client_id"],
        version=_VERSIONS[options["version"]],
        chain=() if assembly is None else _chain(assembly, options),
        tls_version=options["tls_version"],
        cipher=options["cipher"],
        attributes=options["attributes"],
    )


def _chain(assembly: Assembly, options: dict[str, Any]) -> tuple[bytes, ...]:
    if options["cert"] is None and options["cert_cn"] is None:
        return ()
    if options["cert"] is not None and options["cert_cn"] is not None:
        raise click.UsageError("--cert is a certificate, and --cert-cn makes one up; give one of them")
    trusted = trusted_authorities(listener_of(assembly, options["listener"]), assembly.authorities)
    if options["cert"] is not None:
        return certificate_chain(options["cert"], trusted)
    authority = choose_authority(trusted, options["cert_authority"])
    try:
        return assumed_chain(options["cert_cn"], tuple(options["groups"]), authority)
    except ValueError as error:
        raise ConfigError(f"the certificate: {error}") from error
