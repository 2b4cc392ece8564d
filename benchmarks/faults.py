"""Faults injected into a study: is the table that comes out in the end the one of a run that nothing happened to?

    python benchmarks/faults.py 1000 [--first 0] [--jobs 1] [--kinds KIND,...] [--csv benchmarks/faults.csv]

A study of three trials is run again and again by the command line, and each time one thing goes wrong: the driver or
a worker is killed, or stopped for a while, the disk is full, files may not grow, a file of the folder is damaged
(cut, one bit, emptied, deleted, overwritten), the clock is set back, the folder is renamed. Then the same command is
given until it ends with 0. Held: tables equal to the undisturbed run's; a record that was written is not written
again; no trial is missing; an end by itself is exit code 2 with one message; a damaged file is got over or named;
nothing is left behind. What does not hold is printed, and its folder kept. A fault is the same for its number and
kind, on any machine, but for those at moments of a clock. Left out are those of an object store where its server
(moto[s3], flask, s3fs) is not installed. The executor is `local` in the driver's process where
nothing else is said. `full disk` mounts a tmpfs, which takes root. The summary that a run prints at its end is left
out: the tables are compared.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))


def inject_all(count: int, first: int, kinds: list[str] | None, jobs: int) -> None:
    """Inject the faults from number `first` on, in `jobs` processes, and print one line of JSON for each."""
    from faulty_runs import Lab
    from injected_faults import inject, interrupted, possible, schedule

    lab = Lab(Path(tempfile.mkdtemp(prefix="f", dir="/tmp")))
    stopped = interrupted(lab)
    faults = schedule(first + count, kinds or possible())[first:]

    def some(own: int) -> None:
        for kind, number in faults[own::jobs]:
            os.write(1, (json.dumps(vars(inject(lab, stopped, kind, number))) + "\n").encode())

    processes = []
    for own in range(1, jobs):  # forked with all that was imported, which takes longer than several faults
        if (pid := os.fork()) == 0:
            try:
                some(own)
            finally:
                os._exit(0)
        processes.append(pid)
    some(0)
    for pid in processes:
        os.waitpid(pid, 0)


class Table:
    """What came out, by fault, executor and exit codes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._wrong: Counter[tuple[str, str, str]] = Counter()

    def add(self, fault: dict[str, Any]) -> None:
        """Count a fault, and write the table anew."""
        key = (str(fault["kind"]), str(fault["executor"]), " ".join(fault["ends"]))
        self._counts[key] += 1
        self._wrong[key] += bool(fault["wrong"])
        with self._file.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("fault", "executor", "exit_codes", "count", "not_as_it_should_be"))
            writer.writerows((*key, self._counts[key], self._wrong[key]) for key in sorted(self._counts))

    @property
    def total(self) -> int:
        """How many faults there were."""
        return sum(self._counts.values())

    @property
    def wrong(self) -> int:
        """After how many of them something was not as it should be."""
        return sum(self._wrong.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--kinds", type=lambda text: text.split(","))
    parser.add_argument("--inject", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--csv", type=Path, default=HERE / "faults.csv")
    args = parser.parse_args()
    if args.inject:
        inject_all(args.count, args.first, args.kinds, args.jobs)
        return
    table = Table(args.csv)
    words = [sys.executable, __file__, *sys.argv[1:], "--inject"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            fault = json.loads(line)
            table.add(fault)
            if fault["wrong"]:
                print(line, end="", flush=True)
            print(f"{table.total} faults, {table.wrong} not as they should be", file=sys.stderr, flush=True)
    if table.total != args.count:
        print(f"{args.count - table.total} faults have no end: exit code {process.returncode}", file=sys.stderr)
    raise SystemExit(1 if table.wrong or table.total != args.count else 0)


if __name__ == "__main__":
    main()
