"""What does `ablate plan` take of a thousand candidates that are real networks? Seconds, and CPU of all processes.

    python benchmarks/many_candidates.py [many_choices many_candidates] [--set PATH=VALUE ...] [--csv FILE]

Two studies. many_choices.yaml is the space of studies/pareto_search.yaml as a grid: 1,080 candidates of 120 different
networks, DiTs and U-ViTs, whose training varies too. many_candidates.yaml is hard: 1,032 candidates of 516 different
networks, DiTs over patch, conditioning, width and depth and U-Nets over conditioning, fusion, width and blocks, each
with two targets. `command`: the whole command with its imports; `load`: reading and checking the study; `plan`: the
table, in this process after the imports, and in those that it starts where there are cores for them; `alone`: the same
in one process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench
import pandas as pd

from ablate.candidates.candidate import cost_of
from ablate.discovery.catalog import catalog
from ablate.execute.share import cores
from ablate.study.ahead import Ahead
from ablate.study.load import load_study
from ablate.study.loaded import LoadedStudy
from ablate.study.plan import plan
from ablate.training import memory_estimate

STUDIES = ("many_choices", "many_candidates")
COLUMNS = ("study", "candidates", "networks", "what", "cores", "seconds", "cpu_seconds", "ms_a_candidate", "peak_mib")


def command(study: Path, overrides: list[str]) -> None:
    """Run the whole command."""
    arguments = [sys.executable, "-m", "ablate.cli", "plan", str(study), "--json"]
    subprocess.run([*arguments, *overrides], stdout=subprocess.DEVNULL, check=True)


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Take what a piece of work gives, its seconds, and the CPU seconds of this process and of those that ended."""
    begun, used = time.perf_counter(), _used()
    return work(), time.perf_counter() - begun, _used() - used


def _used() -> float:
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def alone(loaded: LoadedStudy) -> pd.DataFrame:
    """Plan in one process, as if nothing had been measured yet."""
    cost_of.cache_clear()
    memory_estimate._simulate.cache_clear()
    memory_estimate._simulate_passes.cache_clear()
    return plan(loaded, "cpu", others=Ahead(loaded, {}, 0))


def main() -> None:
    parser = bench.options(__doc__, rounds=1)
    parser.add_argument("study", nargs="*", default=STUDIES)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    given = parser.parse_args()
    catalog()
    rows = [row for name in given.study for row in measured(Path(__file__).with_name(f"{name}.yaml"), given.set)]
    bench.keep(rows, COLUMNS, given.csv)


def measured(study: Path, settings: list[str]) -> list[dict[str, Any]]:
    """Measure one study, with these settings."""
    overrides = [word for one in settings for word in ("--set", one)]
    loaded, *reading = timed(lambda: load_study(study, overrides=settings))
    frame, *planning = timed(lambda: plan(loaded, "cpu"))
    assert frame["failure"].isna().all()
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    same, *by_itself = timed(lambda: alone(loaded))
    assert frame.drop(columns="seconds").equals(same.drop(columns="seconds"))
    _, *whole = timed(lambda: command(study, overrides))
    networks = len({loaded.candidate(assignment).backbone for assignment in loaded.proposals() or ()})
    rows = []
    for what, (seconds, used) in {"load": reading, "plan": planning, "alone": by_itself, "command": whole}.items():
        numbers = (round(x, 2) for x in (seconds, used, 1000 * seconds / len(frame)))
        row = (study.stem, len(frame), networks, what, cores(), *numbers, peak)
        rows.append(dict(zip(COLUMNS, row, strict=True)))
        bench.show(rows[-1], COLUMNS)
    return rows


if __name__ == "__main__":
    main()
