"""What solvers alone do to samples: the error of a Gaussian's deviation with the exact denoiser, for every pair.

    python benchmarks/solver_grids.py [--csv FILE] [--deviation 0.5] [--table]

Every solver with every schedule and grid that it runs on, `karras` also up to the schedule's own end
(`sigma_max` none), at 8 to 50 evaluations, for Gaussian data of some deviations; `ablate.evaluation.solver_bias`
computes it exactly, without a sample. The peer is the exact answer, 0. A solver's other fields are
its defaults. `--table` prints the table of README.md: the deviation 0.5 in percent. Seconds to run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import bench

from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.evaluation.solver_bias import deviation_error
from ablate.kinds.schedule import Schedule
from ablate.kinds.solver import Grid, Solver
from ablate.spec.slots import create

EVALUATIONS = (8, 12, 16, 25, 32, 50)
DEVIATIONS = (0.25, 0.5, 1.0)
COLUMNS = ("solver", "schedule", "grid", "sigma_max", "deviation", *(f"nfe_{n}" for n in EVALUATIONS))
CAP = Solver.model_fields["sigma_max"].default


def grids() -> Iterator[dict[str, Any]]:
    """The fields that lay out a grid."""
    for grid in get_args(Grid):
        yield {"grid": grid}
    yield {"grid": "karras", "sigma_max": None}


def within(name: str, nfe: int, fields: dict[str, Any]) -> Solver:
    """The solver with the most steps that take at most so many evaluations."""
    known, best = catalog(), None
    for steps in range(1, nfe + 1):
        try:
            made = create(Solver, {"type": name, "steps": steps, **fields}, known)
        except SpecError:
            continue
        assert isinstance(made, Solver)
        if made.nfe() > nfe:
            break
        best = made
    assert best is not None, f"{name} has no step of {nfe} evaluations"
    return best


def measure(name: str, schedule: Schedule, fields: dict[str, Any], deviation: float) -> dict[str, Any] | None:
    """One row, None where they do not go together; errors as parts of the deviation."""
    made = {nfe: within(name, nfe, fields) for nfe in EVALUATIONS}
    if any(set(solver.excludes()) & schedule.provides() for solver in made.values()):
        return None
    errors = {nfe: deviation_error(solver, schedule, deviation) for nfe, solver in made.items()}
    return {
        "solver": name,
        "schedule": schedule.name,
        "grid": fields["grid"],
        "sigma_max": (fields.get("sigma_max", CAP) or "none") if fields["grid"] == "karras" else "",
        "deviation": deviation,
        **{f"nfe_{nfe}": "" if error is None else f"{error:+.4f}" for nfe, error in errors.items()},
    }


def tell(rows: list[dict[str, Any]]) -> None:
    """The rows of deviation 0.5 as markdown."""
    print("| solver | schedule | grid | " + " | ".join(map(str, EVALUATIONS)) + " |")
    print("|---|---|---|" + "---|" * len(EVALUATIONS))
    for row in rows:
        if row["deviation"] == 0.5:
            grid = row["grid"] if row["sigma_max"] in ("", CAP) else f"{row['grid']}, uncapped"
            cells = [f"{100 * float(row[f'nfe_{nfe}']):+.1f}" for nfe in EVALUATIONS]
            print(f"| {row['solver']} | {row['schedule']} | {grid} | {' | '.join(cells)} |")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--csv", type=Path, help="write the rows here")
    options.add_argument("--deviation", type=float, action="append", help="of the data; repeatable")
    options.add_argument("--table", action="store_true", help="print markdown")
    asked = options.parse_args()
    known, rows = catalog(), []
    for name in known.names("solver"):
        for schedule in known.names("schedule"):
            process = create(Schedule, schedule, known)
            assert isinstance(process, Schedule)
            for fields in grids():
                for deviation in asked.deviation or DEVIATIONS:
                    row = measure(name, process, fields, deviation)
                    if row is not None:
                        rows.append(row)
                        if not asked.table:
                            bench.show(row, COLUMNS)
    if asked.table:
        tell(rows)
    bench.keep(rows, COLUMNS, asked.csv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
