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
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
HELPERS = HERE.parent / "tests" / "helpers"
sys.path.insert(0, str(HELPERS))
CHUNK = 250


def chunk(what: str, seed: int, count: int) -> list[dict[str, object]]:
    """Try `count` of one sort in this process."""
    from tried_mutations import try_command_lines, try_studies

    with tempfile.TemporaryDirectory(prefix="m") as place:
        tried = (try_studies if what == "studies" else try_command_lines)(seed, count, Path(place))
        return [vars(one) for one in tried]


def apart(what: str, seed: int, count: int) -> list[dict[str, object]]:
    """Try them in a process of its own; one that ends by itself is a row that says so."""
    words = [sys.executable, __file__, str(count), "--chunk", what, "--seed", str(seed)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        rows: list[dict[str, object]] = json.loads(ran.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        why = f"the process ended with {ran.returncode}: {ran.stderr[-2000:]}"
        return [{"what": what, "outcome": "crash", "cpu": 0.0, "wrong": [why], "input": f"seed {seed}", "stderr": ""}]
    return [{**row, "seed": seed} for row in rows]


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
        print(json.dumps(chunk(args.chunk, args.seed, args.studies)))
        return
    chunks = [
        (what, args.seed + first, min(CHUNK, total - first))
        for what, total in (("lines", args.lines), ("studies", args.studies))
        for first in range(0, total, CHUNK)
    ]
    counts: Counter[tuple[str, str]] = Counter()
    slowest: dict[tuple[str, str], float] = {}
    wrong = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for rows in pool.map(lambda one: apart(*one), chunks):
            for row in rows:
                key = (str(row["what"]), str(row["outcome"]))
                counts[key] += 1
                slowest[key] = max(slowest.get(key, 0.0), float(str(row["cpu"])))
                if row["wrong"]:
                    wrong += 1
                    print(json.dumps(row), flush=True)
            print(f"{sum(counts.values())} tried, {wrong} not as they should be", file=sys.stderr, flush=True)
            with args.csv.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(("what", "outcome", "count", "slowest_cpu_s"))
                writer.writerows((*key, counts[key], round(slowest[key], 2)) for key in sorted(counts))
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
