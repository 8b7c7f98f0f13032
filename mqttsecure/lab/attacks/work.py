# -*- test-case-name: tests.lab.attacks.test_table -*-
"""Runs attacks from where it is started: ``python -m mqttsecure.lab.attacks.work ROW...``, the target on stdin.

Each result is a line of JSON on stdout; what keeps all of it from being run is one with "failed".
"""

from __future__ import annotations

import json
import sys

from mqttsecure.errors import LabError
from mqttsecure.lab.attacks.table import run_attacks, select
from mqttsecure.lab.attacks.target import Target, check_target
from mqttsecure.lab.network.processes import end_with_input

__all__ = ["main"]


def main() -> None:
    try:
        target = Target.read(sys.stdin.readline())
        end_with_input()
        check_target(target.host, in_lab=True)
        for result in run_attacks(target, select(sys.argv[1:])):
            print(json.dumps(result.as_json()), flush=True)  # noqa: T201  # the starter reads it
    except LabError as error:
        print(json.dumps({"failed": str(error)}), flush=True)  # noqa: T201  # the starter reads it


if __name__ == "__main__":
    main()
