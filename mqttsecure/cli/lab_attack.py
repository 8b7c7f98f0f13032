# -*- test-case-name: tests.cli.test_lab_attack -*-
"""``mqttsecure lab attack`` and ``check``: what mallory can try on a broker, and what that says of it."""

from __future__ import annotations

from pathlib import Path

import click

from mqttsecure.cli.lab_options import FOLDER, tells_problems
from mqttsecure.cli.lab_target import Aim, aimed_at, aimed_at_lab, target_options
from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_table
from mqttsecure.lab.attacks.grading import grade, rows_needed
from mqttsecure.lab.attacks.outcome import Outcome, Result
from mqttsecure.lab.attacks.table import select
from mqttsecure.lab.experiment.attacking import attack, knock, write_results
from mqttsecure.lab.experiment.folder import LabFolder

__all__ = ["attack_", "check_"]


@click.command("attack")
@FOLDER
@click.argument("names", nargs=-1)
@click.option("--target", help="Another broker of yours: mosquitto, or HOST:PORT on loopback or in the lab.")
@target_options
@json_option
@click.pass_context
@tells_problems
def attack_(
    context: click.Context, folder: Path, names: tuple[str, ...], target: str | None, aim: Aim, as_json: bool
) -> None:
    """Attack the lab's broker, from a device that mallory has taken over; or a broker of your own.

    NAMES are rows (A9, B1) or groups: all, quick, rights, slow, floods, malformed, tls, mitm. Nobody but a broker on
    this machine or in the lab is attacked.

    \b
    Examples:
      mqttsecure lab attack mylab
      mqttsecure lab attack mylab A9 mitm
      mqttsecure lab attack mylab quick --target mosquitto
      mqttsecure lab attack mylab all --target 127.0.0.1:8884 --ca ca.pem --server-name localhost

    Exit codes: 0 all was resisted, 1 an attack succeeded, 2 the command line makes no sense, 4 the lab is not up, or
    the target cannot be reached or is not yours to attack.
    """
    place = LabFolder.at(folder).existing()
    attacks = select(names)
    results: list[Result] = []
    with aimed_at_lab(place, aim) if target is None else aimed_at(place, target, aim) as (whom, state, label):
        if state is not None and target is None:
            _take(results, knock(state), as_json)
        for result in attack(whom, attacks, state):
            _take(results, result, as_json)
    write_results(place.attacks if target is None else place.path / "attacks-target.json", label, results)
    if as_json:
        print_json({"target": label, "results": [each.as_json() for each in results]})
    else:
        _print(f"Attacks on {label}", results)
    if any(each.outcome is Outcome.SUCCEEDED for each in results):
        context.exit(EXIT_PROBLEMS)


def _take(results: list[Result], result: Result, as_json: bool) -> None:
    """Keep a result, and tell it at once where somebody waits for it."""
    results.append(result)
    if not as_json:
        click.echo(f"{result.row:<4} {result.outcome.value:<10} {result.attack}: {result.seen}", err=True)


def _print(title: str, results: list[Result]) -> None:
    rows = [[each.row, each.attack, each.outcome.value, each.seen, each.required] for each in results]
    print_table(title, ["", "attack", "outcome", "what was seen", "a secure one"], rows)
    counts = {outcome: sum(each.outcome is outcome for each in results) for outcome in Outcome}
    click.echo(", ".join(f"{count} {outcome.value}" for outcome, count in counts.items() if count))


@click.command("check")
@click.argument("target")
@click.option(
    "--lab", "folder", type=click.Path(file_okay=False, path_type=Path), help="A lab whose CA and users it has."
)
@target_options
@json_option
@click.pass_context
@tells_problems
def check_(context: click.Context, target: str, folder: Path | None, aim: Aim, as_json: bool) -> None:
    """Grade a broker: which requirements of the lab it meets, which are missing, and what helps.

    TARGET is a broker of your own, HOST:PORT on this machine or in the lab, or the folder of a lab that is up. It needs
    two users: one may publish and read below a topic, the other may only read there.

    \b
    Examples:
      mqttsecure lab check mylab
      mqttsecure lab check 127.0.0.1:8883 --ca ca.pem --writer-password-file alice --reader-password-file bob
      mqttsecure lab check 127.0.0.1:8884 --lab mylab --json

    Exit codes: 0 all are met, 1 one is missing, 2 the command line makes no sense, 4 the broker cannot be reached, does
    not let its users in, or is not yours to attack.
    """
    own = Path(target)
    place = LabFolder.at(own) if own.is_dir() else None if folder is None else LabFolder.at(folder).existing()
    attacks = select(rows_needed(aim.plaintext))
    results: list[Result] = []
    with aimed_at_lab(LabFolder.at(own), aim) if own.is_dir() else aimed_at(place, target, aim) as (whom, state, label):
        for result in attack(whom, attacks, state):
            _take(results, result, as_json)
    grades = grade(results)
    met = sum(each.is_met for each in grades)
    if as_json:
        print_json(
            {"target": label, "met": met, "of": len(grades), "requirements": [each.as_json() for each in grades]}
        )
    else:
        rows = [[each.row, each.words, each.verdict, each.why] for each in grades]
        print_table(f"Requirements, and {label}", ["", "requirement", "", "what was seen, and what helps"], rows)
        click.echo(f"{met} of {len(grades)} are met")
    if met < len(grades):
        context.exit(EXIT_PROBLEMS)
