# -*- test-case-name: tests.cli.test_lab_attack -*-
"""``mqttsecure lab report``: all that a lab has to tell, on one page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from mqttsecure.cli.lab_options import FOLDER, tells_problems
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.markdown import markdown
from mqttsecure.lab.experiment.record import LabRecord, load_record
from mqttsecure.lab.report.lab_page import lab_page

__all__ = ["report"]


def _json(record: LabRecord) -> str:
    return json.dumps(record.as_json(), indent=2, ensure_ascii=False) + "\n"


_FORMS: Final[dict[str, Callable[[LabRecord], str]]] = {"html": lab_page, "md": markdown, "json": _json}


@click.command()
@FOLDER
@click.option(
    "--format", "form", type=click.Choice(list(_FORMS)), default="html", show_default=True, help="What is written."
)
@click.option("--output", "-o", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
              help="The file; - is stdout [report.html in the lab].")  # fmt: skip
@tells_problems
def report(folder: Path, form: str, output: Path | None) -> None:
    """Write a report: verdicts and ladders of all runs, firewall, denials, attacks, corrections of the old lab text.

    The lab need not be up.

    \b
    Examples:
      mqttsecure lab report mylab                 one HTML file, in English and Chinese, for any browser
      mqttsecure lab report mylab --format md
      mqttsecure lab report mylab --format json -o - | jq '.runs[].complete'

    Exit codes: 0 written, 2 the command line makes no sense, 4 there was no run yet, or a file cannot be read.
    """
    place = LabFolder.at(folder)
    record = load_record(place)
    text = _FORMS[form](record)
    file = output or place.path / f"report.{form}"
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    # It may tell a password that a key log opened, and is for its owner alone.
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as stream:
        stream.write(text.encode())
    click.echo(f"made {file}")
