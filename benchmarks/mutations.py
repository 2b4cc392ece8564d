"""What the command line does with wrong input: mutated study files and command lines, each one message and exit code 2.

    python benchmarks/mutations.py 10000 [--lines 500] [--seed 0] [--jobs 1] [--csv benchmarks/mutations.csv]

A study file is one of studies/ with one to four things changed (keys dropped and renamed, values of other types, NaN,
huge and empty ones, lists and mappings where a scalar stands, deep nesting, anchors, tags, tabs, bytes that are no
text). It is given to `ablate plan`; what turns out to be a study in order is planned to the end once in ten times. A
command line is a command with arguments and options that do not fit. Held: exit code 2 (of a study in order, and of a
command that finds nothing wrong, 0), one message on stderr, no traceback, nothing on stdout, nothing written, at most
10 s of CPU. Hypothesis draws them, by seed; 250 of them in a process of its own. What does not hold is printed with
its seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HELPERS = HERE.parent / "tests" / "helpers"
sys.path.insert(0, str(HELPERS))
CHUNK = 250


def chunk(what: str, seed: int, count: int) -> None:
    """Try `count` of one sort in this process, and print a line of JSON for each."""
    from tried_mutations import Tried, try_command_lines, try_studies

    def tell(one: Tried) -> None:
        print(json.dumps(vars(one)), flush=True)

    with tempfile.TemporaryDirectory(prefix="m") as place:
        (try_studies if what == "studies" else try_command_lines)(seed, count, Path(place), tell)


def apart(what: str, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Try them in a process of its own, and yield each; one that ends by itself is a row that says so."""
    words = [sys.executable, __file__, str(count), "--chunk", what, "--seed", str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield {**json.loads(line), "seed": seed}
    if process.returncode:
        wrong = [f"the process ended with {process.returncode}"]
        yield {"what": what, "outcome": "crash", "cpu": 0.0, "wrong": wrong, "input": f"seed {seed}", "stderr": ""}


class Table:
    """What came out, by sort and outcome."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._counts: Counter[tuple[str, str]] = Counter()
        self._slowest: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self.wrong = 0

    def take(self, rows: Iterable[dict[str, Any]]) -> None:
        """Count rows as they come, print those that are not as they should be, and write the table anew."""
        for row in rows:
            with self._lock:
                key = (str(row["what"]), str(row["outcome"]))
                self._counts[key] += 1
                self._slowest[key] = max(self._slowest.get(key, 0.0), row["cpu"])
                if row["wrong"]:
                    self.wrong += 1
                    print(json.dumps(row), flush=True)
                self._write()

    def _write(self) -> None:
        with self._file.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("what", "outcome", "count", "slowest_cpu_s"))
            writer.writerows((*key, self._counts[key], round(self._slowest[key], 2)) for key in sorted(self._counts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("studies", type=int)
    parser.add_argument("--lines", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--chunk", choices=("studies", "lines"), help=argparse.SUPPRESS)
    parser.add_argument("--csv", type=Path, default=HERE / "mutations.csv")
    args = parser.parse_args()
    if args.chunk:
        chunk(args.chunk, args.seed, args.studies)
        return
    chunks = [
        (what, args.seed + first, min(CHUNK, total - first))
        for what, total in (("lines", args.lines), ("studies", args.studies))
        for first in range(0, total, CHUNK)
    ]
    table = Table(args.csv)
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda one: table.take(apart(*one)), chunks))
    raise SystemExit(1 if table.wrong else 0)


if __name__ == "__main__":
    main()
