# -*- test-case-name: tests.cli.test_lab_attack -*-
"""``mqttsecure lab report``: all that a lab has to tell, on one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from mqttsecure.cli.lab_options import FOLDER, tells_problems
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.markdown import markdown
from mqttsecure.lab.experiment.record import load_record

__all__ = ["report"]

_ENDS: Final = {"md": ".md", "json": ".json"}


@click.command()
@FOLDER
@click.option(
    "--format", "form", type=click.Choice(list(_ENDS)), default="md", show_default=True, help="What is written."
)
@click.option("--output", "-o", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
              help="The file; - is stdout [report.md in the lab].")  # fmt: skip
@tells_problems
def report(folder: Path, form: str, output: Path | None) -> None:
    """Write a report: verdicts and ladders of all runs, firewall, denials, attacks, corrections of the old lab text.

    The lab need not be up.

    \b
    Examples:
      mqttsecure lab report mylab
      mqttsecure lab report mylab --format json -o - | jq '.runs[].complete'

    Exit codes: 0 written, 2 the command line makes no sense, 4 there was no run yet, or a file cannot be read.
    """
    place = LabFolder.at(folder)
    record = load_record(place)
    text = markdown(record) if form == "md" else json.dumps(record.as_json(), indent=2, ensure_ascii=False) + "\n"
    file = output or place.path / f"report{_ENDS[form]}"
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    file.write_text(text, encoding="utf-8")
    click.echo(f"made {file}")
