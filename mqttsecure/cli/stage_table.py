# -*- test-case-name: tests.cli.test_stage_table -*-
"""Keeps the table of built-in policies and stages in ``docs/reference/chain.md`` as the policies are.

Run ``python -m mqttsecure.cli.stage_table docs/reference/chain.md`` after a change of a policy's stages; a test
compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from mqttsecure.core.decisions import Role, Stage
from mqttsecure.policy.discovery import BUILT_IN
from mqttsecure.policy.registry import FoundFactory, PolicyRegistry

__all__ = ["BEGIN", "END", "stage_table", "with_table"]

BEGIN: Final = "<!-- stage table: made by `python -m mqttsecure.cli.stage_table docs/reference/chain.md` -->"
END: Final = "<!-- end of the stage table -->"

_WORDS: Final = {Role.GRANTS: "**grants**", Role.RESTRICTS: "restricts", None: "-"}


def stage_table() -> str:
    """The table in Markdown: one row for each built-in policy, one column for each stage."""
    found = [each for each in PolicyRegistry().all() if each.distribution == BUILT_IN]
    lines = [
        f"| policy | {' | '.join(stage.value for stage in Stage)} |",
        f"| --- |{' --- |' * len(Stage)}",
        *map(_row, sorted(found, key=_first_stage)),
    ]
    return "\n".join(lines)


def _first_stage(found: FoundFactory) -> tuple[int, str]:
    """Policies in the order in which a connection meets them first, which is how a chain is best written."""
    stages = list(Stage)
    return min(stages.index(stage) for stage in found.factory.stages), found.name


def _row(found: FoundFactory) -> str:
    cells = [_WORDS[found.factory.stages.get(stage)] for stage in Stage]
    return f"| [`{found.name}`](policies/{found.name}.md) | {' | '.join(cells)} |"


def with_table(page: str) -> str:
    """``page`` with the table between its two marks made anew.

    Raises:
        ValueError: the marks are not there.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table; put {BEGIN} and {END} there")
    return f"{head}{BEGIN}\n\n{stage_table()}\n\n{END}{tail}"


def main(arguments: list[str]) -> int:
    """Renew the table in the files named, or write it to stdout."""
    for name in arguments:
        file = Path(name)
        file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
    if not arguments:
        sys.stdout.write(f"{stage_table()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
