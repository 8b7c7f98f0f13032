"""Measure brokers side by side: messages received per CPU second of the broker, the same cases in turn.

Any broker is measured by its address and process id:

    python bench/compare.py --broker mine=127.0.0.1:8883,pid=4711 --user alice --password-file pw --ca ca.pem
    python bench/compare.py --broker a=127.0.0.1:8883,pid=1 --broker b=127.0.0.1:8884,pid=2 --cases fanin-q0,many-q1

or the two of the project's own comparison are started for it, with TLS 1.3, a password, topic rules and a rate limit:

    python bench/compare.py --start mqttsecure --start mosquitto --reps 3

The load generator (mqload.c) is compiled when it is needed; that takes a C compiler and OpenSSL's headers. On two or
more cores the brokers started here run on core 0 and the load generator on core 1. Results are medians over the
repeats; a row with lost messages does not count and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from brokers import STARTABLE, Running  # noqa: E402  # beside this file

CASES = {
    "fanin-q0": "fanin --pubs 10 -q 0",
    "fanin-q1": "fanin --pubs 10 -q 1",
    "fanin-q2": "fanin --pubs 10 -q 2",
    "fanin-q0-1k": "fanin --pubs 10 -q 0 -s 1024",
    "fanin-q1-20": "fanin --pubs 10 --inflight 20 -q 1",
    "fanin-q1-durable": "fanin --pubs 10 --inflight 20 -q 1 --durable",
    "many-q1-durable": "fanin --pubs 100 --burst 1 --inflight 1 -q 1 --durable",
    "many-q0": "fanin --pubs 100 --burst 1 -q 0",
    "many-q1": "fanin --pubs 100 --burst 1 --inflight 1 -q 1",
    "fanout-100": "fanout --subs 100 --window 20",
    "fanout-1000": "fanout --subs 1000 --window 5",
    "paced-1k-q1": "paced --rate 1000 -q 1",
    "paced-1k-q1-durable": "paced --rate 1000 -q 1 --durable",
    "connect": "connect --n 1000",
    "hold-2000": "connect --hold --n 2000 --concurrency 32 --keepalive 20 -T 4",
    "subs-100": "subs --n 100 --clients 100 --max 20",
    "subs-100k": "subs --n 100000 --clients 100 --max 20",
}
"""What mqload runs: see its header, or `mqload --help`."""

DEFAULT_CASES = "fanin-q0,fanin-q1,many-q0,many-q1,fanout-100,fanout-1000"


@dataclass
class Target:
    """A broker to measure. ``options`` are further ones for mqload (user, password, CA)."""

    name: str
    host: str
    port: int
    pid: int
    options: list[str]


def main() -> int:
    options = _arguments()
    mqload = build_mqload(options.build)
    with ExitStack() as stack:
        targets = [_given(text, options) for text in options.broker]
        targets += [stack.enter_context(_started(name)) for name in options.start]
        if not targets:
            sys.exit("name a broker: --broker NAME=HOST:PORT,pid=PID, or --start mqttsecure")
        rows = measure(mqload, targets, options.cases.split(","), options.reps, options.seconds, options.tls)
    print_table(rows, [target.name for target in targets])
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", action="append", default=[], metavar="NAME=HOST:PORT,pid=PID")
    parser.add_argument("--start", action="append", default=[], choices=sorted(STARTABLE))
    parser.add_argument("--cases", default=DEFAULT_CASES, help=f"of: {', '.join(CASES)}")
    parser.add_argument("--reps", type=int, default=3, help="repeats, interleaved broker by broker")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each case")
    parser.add_argument("--plain", dest="tls", action="store_false", help="without TLS")
    parser.add_argument("--user")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--ca", type=Path, help="verify the broker's certificate with this CA")
    parser.add_argument("--json", help="write all runs to this file")
    parser.add_argument("--build", type=Path, default=HERE / "out", help="where mqload is compiled to")
    options = parser.parse_args()
    unknown = [name for name in options.cases.split(",") if name not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    return options


def build_mqload(folder: Path) -> Path:
    """Compile the load generator unless it is newer than its source."""
    source, program = HERE / "mqload.c", folder / "mqload"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("no C compiler: install gcc and libssl-dev")
    folder.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-O2", "-o", str(program), str(source), "-lssl", "-lcrypto"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"mqload does not compile (is libssl-dev installed?):\n{done.stderr}")
    return program


def _given(text: str, options: argparse.Namespace) -> Target:
    try:
        name, rest = text.split("=", 1)
        address, pid = rest.split(",pid=")
        host, port = address.rsplit(":", 1)
        target = Target(name, host, int(port), int(pid), [])
    except ValueError:
        sys.exit(f"--broker {text}: write NAME=HOST:PORT,pid=PID")
    if options.user:
        target.options += ["--user", options.user]
    if options.password_file:
        target.options += ["--pass", options.password_file.read_text().strip()]
    if options.ca:
        target.options += ["--cafile", str(options.ca)]
    return target


@contextmanager
def _started(name: str) -> Iterator[Target]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        running: Running
        with STARTABLE[name](Path(folder), core=0 if (os.cpu_count() or 1) > 1 else None) as running:
            yield Target(name, "127.0.0.1", running.port, running.pid, running.mqload_options)


def measure(
    mqload: Path, targets: list[Target], cases: list[str], reps: int, seconds: float, tls: bool
) -> list[dict[str, Any]]:
    """Run all cases; each result is mqload's own JSON with ``case`` and ``broker``."""
    rows: list[dict[str, Any]] = []
    total = reps * len(cases) * len(targets)
    for _ in range(reps):
        for case in cases:
            for target in targets:
                print(f"\r{len(rows) + 1}/{total} {case} {target.name}          ", end="", file=sys.stderr, flush=True)
                rows.append({"case": case, "broker": target.name, **run_case(mqload, target, case, seconds, tls)})
    print(file=sys.stderr)
    return rows


def run_case(mqload: Path, target: Target, case: str, seconds: float, tls: bool) -> dict[str, Any]:
    """One run of mqload; ``error`` is set where it gave no result."""
    command = [str(mqload), *CASES[case].split(), "--host", target.host, "-p", str(target.port)]
    command += ["--pid", str(target.pid), "-w", "0.5", *target.options]
    if tls:
        command.append("--tls")
    if "-T" not in command:
        command += ["-T", str(seconds)]
    if (os.cpu_count() or 1) > 1 and shutil.which("taskset"):
        command = ["taskset", "-c", "1", *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90)
    except subprocess.TimeoutExpired:
        return {"error": "did not end in time"}
    lines = done.stdout.strip().splitlines()
    try:
        result: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {"error": (done.stderr or "no result").strip()[-200:]}
    if "lat_us" in result:
        result["p99_us"] = result["lat_us"]["p99"]
    return result


FIGURES = {
    "connect": ("cpu_us_per_conn", "us CPU/conn", False),
    "hold-2000": ("rss_per_conn", "bytes/conn", False),
    "paced-1k-q1": ("p99_us", "us latency, p99", False),
    "paced-1k-q1-durable": ("p99_us", "us latency, p99", False),
}


def print_table(rows: list[dict[str, Any]], names: list[str]) -> None:
    """Medians, and each broker's ratio to the last one named."""
    base = names[-1]
    print(
        f"{'case':20}{'figure':18}" + "".join(f"{name:>16}" for name in names) + ("" if len(names) < 2 else "   ratio")
    )
    for case in dict.fromkeys(row["case"] for row in rows):
        key, label, more_is_better = FIGURES.get(case, ("recv_per_cpu_s", "msg/CPU second", True))
        medians: dict[str, float | None] = {}
        notes: list[str] = []
        for name in names:
            mine = [row for row in rows if row["case"] == case and row["broker"] == name]
            valid = [row for row in mine if "error" not in row and not row.get("lost") and key in row]
            notes += [
                f"{name}: {row.get('error') or str(row.get('lost')) + ' lost'}" for row in mine if row not in valid
            ]
            # A broker that has held connections before gives their memory to the next ones: only its first run tells.
            together = max if key == "rss_per_conn" else statistics.median
            medians[name] = together(row[key] for row in valid) if valid else None
        cells = "".join(f"{'-' if medians[name] is None else f'{medians[name]:,.0f}':>16}" for name in names)
        ratio = ""
        first, last = medians[names[0]], medians[base]
        if len(names) > 1 and first and last:
            ratio = f"{first / last if more_is_better else last / first:8.2f}"
        print(f"{case:20}{label:18}{cells}{ratio}" + (f"   ({'; '.join(dict.fromkeys(notes))})" if notes else ""))


if __name__ == "__main__":
    sys.exit(main())
