"""How fast retained messages are stored, and sent to who subscribes to all or to a tenth of them.

    python bench/retained.py --start mqttsecure --start mosquitto --number 100000

One client publishes them with QoS 1, a thousand unacknowledged at a time; ours has each on disk before it is
acknowledged.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from brokers import STARTABLE  # noqa: E402  # beside this file
from compare import build_mqload  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", action="append", choices=sorted(STARTABLE), default=[], help="may be given again")
    parser.add_argument("--number", type=int, default=100_000)
    options = parser.parse_args()
    mqload = build_mqload(HERE / "out")
    for name in options.start or ["mqttsecure"]:
        with tempfile.TemporaryDirectory() as place, STARTABLE[name](Path(place), 0) as running:
            command = [str(mqload), "retain", "--n", str(options.number), "-q", "1", "--inflight", "1000", "--tls"]
            command += ["--host", "127.0.0.1", "-p", str(running.port), "--pid", str(running.pid), "--max", "120"]
            done = subprocess.run([*command, *running.mqload_options], capture_output=True, text=True, check=False)
        if not done.stdout.strip():
            sys.exit(f"{name}: {done.stderr}")
        print_result(name, json.loads(done.stdout))


def print_result(name: str, result: dict[str, object]) -> None:
    print(f"{name}: {result['stored']} stored, {result['store_rate']}/s ({result['store_cpu_s']} CPU s), ", end="")
    print(f"{result['bytes_per_msg']} bytes each")
    for what, part in (("all of them", result["all"]), ("a tenth", result["plus"])):
        if isinstance(part, dict):
            rate = part["got"] / part["s"] if part["s"] else 0
            print(f"  {what}: {part['got']} of {part['want']} in {part['s']} s, {rate:,.0f}/s ({part['cpu_s']} CPU s)")


if __name__ == "__main__":
    main()
