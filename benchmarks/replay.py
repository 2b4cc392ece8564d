"""What does a trial cost the engine itself, and does that grow? Replayed trials of a table that is made up.

    python benchmarks/replay.py [--candidates 10000] [--workers 1000] [--fidelity pareto_asha] [--csv FILE]

A grid of rates and weight decays of small DiTs, whose values are a formula: nothing is trained, and what is left is
what the engine takes: asking Optuna, composing a candidate, writing a record, telling the scores. A row tells of a
thousand reports (with a fidelity a candidate reports at each rung that it reaches). Compared are the first thousand and
the last during which candidates were still asked for. The time is the process's own, unless --clock wall is given.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench

from ablate.engine import CheckedPool, Engine
from ablate.execute.replay import Replay
from ablate.kinds.executor import Job, Pool, Report
from ablate.study.launch import plan_of
from ablate.study.load import load_study
from ablate.study.loaded import LoadedStudy
from ablate.worker.recorded import rows_of, write

COLUMNS = ("fidelity", "workers", "reports", "asked", "ms_per_report", "peak_mib")
THOUSAND = 1000
WIDTHS = (16, 32, 48, 64)
POINTS = (0.1111, 0.3333)
IMAGES = 3200


def study(candidates: int, fidelity: str) -> dict[str, Any]:
    each = math.ceil((candidates / len(WIDTHS)) ** 0.5)
    return {
        "study": "replay",
        "data": "digits",
        "base": {"backbone": {"type": "dit", "patch": 4, "depth": 2, "heads": 2, "width": 64}, "batch": 32},
        "vary": {
            "backbone.width": list(WIDTHS),
            "optimizer.lr": [round(1e-4 * (i + 1), 10) for i in range(each)],
            "optimizer.weight_decay": [round(1e-3 * i, 10) for i in range(each)],
        },
        "design": "grid",
        "fidelity": fidelity,
        "budget": {"images": IMAGES},
        "evaluate": {"metrics": ["kid"], "samples": 200, "at": list(POINTS)},
        "objectives": ["kid", "gflops"],
    }


def table(loaded: LoadedStudy, file: Path) -> None:
    """A record for each candidate, with values by a formula of width and rate."""
    rows = []
    for number, assignment in enumerate(loaded.proposals() or ()):
        width, rate = assignment["backbone.width"], assignment["optimizer.lr"]
        seconds = 10 + width / 4 + number % 7
        shares = {
            f"{share:g}": {
                "images": 32 * math.ceil(share * IMAGES / 32),
                "loss": 1 - share / 2,
                "train_seconds": seconds * share,
                "evaluate_seconds": float(i + 1),
            }
            for i, share in enumerate(POINTS)
        }
        places = [(IMAGES, 200, 1.0), (IMAGES, 100, 1.0), *((p["images"], 100, float(s)) for s, p in shares.items())]
        record = {
            "config_hash": loaded.trial_settings.digest(loaded.candidate(assignment)),
            "seed": 0,
            "state": "complete",
            "choices": dict(assignment),
            "params": 1,
            "gflops": 1.0,
            "macs": 1.0,
            "images": IMAGES,
            "loss": 0.5,
            "train_seconds": seconds,
            "evaluate_seconds": 4.0,
            "shares": shares,
            "metrics": [
                {
                    "metric": "kid_efficientnet_lite0",
                    "images": images,
                    "samples": samples,
                    "ema": "ema",
                    "nfe": 32,
                    "value": 100 * abs(math.log(rate / (0.1 / width))) / width**0.5
                    + 20 * (1 - share)
                    + number % 13 / 4,
                }
                for images, samples, share in places
            ],
        }
        rows += rows_of(record)
    spec = loaded.study.spec()
    about = {"study": {key: spec[key] for key in ("study", "data", "budget", "evaluate")}, "samples_during": 100}
    write(file, rows, {**about, "points": [f"{share:g}" for share in POINTS], "data_hash": None})


class Watched(Pool):
    """A pool that notes, at every thousandth report, the time since the last one, and the memory."""

    def __init__(self, pool: Pool, clock: str, fidelity: str) -> None:
        self.slots = pool.slots
        self.rows: list[dict[str, Any]] = []
        self._fidelity = fidelity
        self._pool = pool
        self._clock = bench.CLOCKS[clock]
        self._asked = self._reports = 0
        self._before = (0, 0, 0.0)  # reports, jobs and the time at the last mark

    def submit(self, job: Job) -> None:
        """Count the jobs."""
        if not self._asked:
            self._before = (0, 0, self._clock())
        self._asked += 1
        self._pool.submit(job)

    def wait(self, timeout: float) -> Sequence[Report]:
        """Count the reports."""
        reports = self._pool.wait(timeout)
        before, self._reports = self._reports, self._reports + len(reports)
        if before // THOUSAND < self._reports // THOUSAND:
            self._mark()
        return reports

    def close(self) -> None:
        """Close the pool itself."""
        self._pool.close()

    def _mark(self) -> None:
        reports, asked, since = self._before
        now = self._clock()
        row = {"fidelity": self._fidelity, "workers": self.slots, "reports": self._reports}
        row |= {
            "asked": self._asked - asked,
            "ms_per_report": round(1000 * (now - since) / (self._reports - reports), 2),
        }
        row |= {"peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
        bench.show(row, COLUMNS)
        self.rows.append(row)
        self._before = (self._reports, self._asked, now)


def main() -> int:
    parser = bench.options(__doc__, rounds=1)
    parser.set_defaults(clock="cpu")
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--fidelity", default="none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = folder / "study.yaml"
        spec.write_text(json.dumps(study(arguments.candidates, arguments.fidelity)))
        loaded = load_study(spec)
        table(loaded, folder / "table.parquet")
        executor = Replay(table=str(folder / "table.parquet"), workers=arguments.workers)
        with Watched(executor.start("", "cpu"), arguments.clock, arguments.fidelity) as pool:
            plan = plan_of(loaded, folder / "out", "cpu", measures=False)
            outcome = Engine(plan, CheckedPool(pool, "replay")).run()
        print(outcome)
    bench.keep(pool.rows, COLUMNS, arguments.csv, add=True)
    busy = [row for row in pool.rows if row["asked"] >= THOUSAND / 2 and row["reports"] > THOUSAND]
    if len(busy) < 2:
        return 0  # too few candidates to compare
    return bench.at_most(1.5, {"last thousand to the first": busy[-1]["ms_per_report"] / busy[0]["ms_per_report"]})


if __name__ == "__main__":
    sys.exit(main())
