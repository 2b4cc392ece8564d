"""What does `ablate plan` take of a thousand candidates that are real networks? CPU seconds (user and system).

    python benchmarks/many_candidates.py [--set PATH=VALUE ...] [--csv FILE]

The study is benchmarks/many_candidates.yaml: 1,032 candidates of 516 different networks, DiTs over patch, conditioning,
width and depth and U-Nets over conditioning, fusion, width and blocks, each with two targets. `command`: the whole
command with its imports; `load`: reading and checking the study; `plan`: the table, in this process after the imports.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench

STUDY = Path(__file__).with_suffix(".yaml")
COLUMNS = ("candidates", "what", "cpu_seconds", "ms_a_candidate", "peak_mib")


def command(overrides: list[str]) -> float:
    """Take the CPU seconds of the whole command."""
    arguments = [sys.executable, "-m", "ablate.cli", "plan", str(STUDY), "--json"]
    with subprocess.Popen([*arguments, *overrides], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Take what a piece of work gives, and its CPU seconds."""
    begun = time.process_time()
    return work(), time.process_time() - begun


def main() -> None:
    parser = bench.options(__doc__, rounds=1)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    given = parser.parse_args()
    from ablate.discovery.catalog import catalog
    from ablate.study.load import load_study
    from ablate.study.plan import plan

    catalog()
    loaded, reading = timed(lambda: load_study(STUDY, overrides=given.set))
    frame, planning = timed(lambda: plan(loaded, "cpu"))
    assert frame["failure"].isna().all()
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    overrides = [word for one in given.set for word in ("--set", one)]
    rows = []
    for what, seconds in (("load", reading), ("plan", planning), ("command", command(overrides))):
        row = (len(frame), what, round(seconds, 2), round(1000 * seconds / len(frame), 2), peak)
        rows.append(dict(zip(COLUMNS, row, strict=True)))
        bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, given.csv)


if __name__ == "__main__":
    main()
