"""Faults injected into a study: is the table that comes out in the end the one of a run that nothing happened to?

    python benchmarks/faults.py 1000 [--first 0] [--jobs 1] [--kinds KIND,...] [--csv benchmarks/faults.csv]

A study of three trials is run again and again by the command line, and each time one thing goes wrong: the driver or
a worker is killed, or stopped for a while, the disk is full, files may not grow, a file of the folder is damaged
(cut, one bit, emptied, deleted, overwritten), the clock is set back, the folder is renamed. Then the same command is
given until it ends with 0. Held: tables equal to the undisturbed run's; a record that was written is not written
again; no trial is missing; an end by itself is exit code 2 with one message; a damaged file is got over or named;
nothing is left behind. What does not hold is printed, and its folder kept. A fault is the same for its number and
kind, on any machine, but for those at moments of a clock. The executor is `local` in the driver's process where
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))


def part(count: int, first: int, kinds: list[str] | None, step: int) -> None:
    """Inject every `step`-th fault from `first` on, and print one line of JSON for each."""
    from faulty_runs import Lab
    from injected_faults import FAULTS, inject, interrupted, schedule

    place = Path(tempfile.mkdtemp(prefix="f", dir="/tmp"))
    lab = Lab(place)
    stopped = interrupted(lab)
    for kind, number in schedule(count, kinds or list(FAULTS))[first::step]:
        print(json.dumps(vars(inject(lab, stopped, kind, number))), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--kinds", type=lambda text: text.split(","))
    parser.add_argument("--step", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--csv", type=Path, default=HERE / "faults.csv")
    args = parser.parse_args()
    if args.step:
        part(args.count, args.first, args.kinds, args.step)
        return
    counts: Counter[tuple[str, str, str]] = Counter()
    wrong: Counter[tuple[str, str, str]] = Counter()

    def follow(first: int) -> None:
        words = [
            sys.executable,
            __file__,
            str(args.count),
            "--first",
            str(args.first + first),
            "--step",
            str(args.jobs),
        ]
        words += ["--kinds", ",".join(args.kinds)] if args.kinds else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            for line in process.stdout:
                fault = json.loads(line)
                key = (fault["kind"], fault["executor"], " ".join(fault["ends"]))
                counts[key] += 1
                wrong[key] += bool(fault["wrong"])
                if fault["wrong"]:
                    print(line, end="", flush=True)
                write()
        if process.returncode:
            print(f"the process of faults {first} ended with {process.returncode}", flush=True)
            wrong["-", "-", "-"] += 1

    def write() -> None:
        with args.csv.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("fault", "executor", "exit_codes", "count", "not_as_it_should_be"))
            writer.writerows((*key, counts[key], wrong[key]) for key in sorted(counts))
        print(
            f"{sum(counts.values())} faults, {sum(wrong.values())} not as they should be", file=sys.stderr, flush=True
        )

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(follow, range(args.jobs)))
    raise SystemExit(1 if sum(wrong.values()) else 0)


if __name__ == "__main__":
    main()
