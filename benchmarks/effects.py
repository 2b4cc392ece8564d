"""What do the effects and the summary of 1,000 candidates take? Of a folder that is made up.

    python benchmarks/effects.py [--candidates 1000] [--seeds 3] [--rounds 5] [--clock cpu] [--csv FILE]

`whole`: every candidate has all seeds; `missing`: every seventh run is missing; `diverged`: one run of each fiftieth
candidate diverged. With a declared test and a margin of equivalence. The seconds of `Results.effects` and then of
`Results.summary`, after the folder is read and everything is imported: the median of the rounds.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import bench
import numpy as np

import ablate
from ablate.results import Results

METRIC = "kid_efficientnet_lite0"
TEST = {"type": "two_way", "variance": "checked", "check": 0.002}
ANALYSIS = {"test": TEST, "alpha": 0.05, "delta": 0.1, "scale": "plain", "most_seeds": None}
COLUMNS = ("candidates", "seeds", "folder", "what", "seconds")


def fill(folder: Path, kind: str, candidates: int, seeds: int) -> None:
    """Write a study's folder: its lock, and a record of each run."""
    generator = np.random.default_rng(0)
    lock = {"study": kind, "objectives": ["kid", "gflops"], "metrics": {"kid": METRIC}, "baseline": {"width": 0}}
    lock |= {"analysis": {**ANALYSIS, "looks": [list(range(seeds))]}}
    (folder / "lock.json").write_text(json.dumps(lock))
    (folder / "study.yaml").write_text(json.dumps({"study": kind}))
    shared = generator.normal(0, 0.2, seeds)
    for i, mean in enumerate(generator.normal(3, 0.5, candidates)):
        cost = float(generator.uniform(0.1, 10))
        for seed in range(seeds):
            if kind == "missing" and i and (i * seeds + seed) % 7 == 0:
                continue
            diverged = kind == "diverged" and i % 50 == 3 and seed == 1
            value = mean + shared[seed] + generator.normal(0, 0.1)
            write(folder / "trials" / f"{i:012x}-s{seed}", i, seed, cost, None if diverged else float(value))


def write(folder: Path, number: int, seed: int, cost: float, value: float | None) -> None:
    measured = {"images": 1000, "ema": "ema", "solver": "ddim", "nfe": 50, "guidance": "none", "metric": METRIC}
    measured |= {"features": "f", "samples": 1000, "value": value, "error": 0.05, "quantisation": "round"}
    record: dict[str, Any] = {"schema": 1, "trial": folder.name, "config_hash": f"{number:012x}{0:052x}", "seed": seed}
    record |= {"choices": {"width": number}, "params": 1000, "gflops": cost, "macs": 1000, "images": 1000}
    record |= {"state": "diverged" if value is None else "complete", "metrics": [] if value is None else [measured]}
    record |= {"seconds": 60.0, "train_seconds": 50.0, "evaluate_seconds": 9.0, "device": "cpu", "versions": {}}
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))


def read(folder: Path) -> Results:
    results = ablate.load(folder)
    assert len(results.trials) and len(results.metrics)
    return results


def main() -> None:
    options = bench.options(__doc__, rounds=5)
    options.add_argument("--candidates", type=int, default=1000)
    options.add_argument("--seeds", type=int, default=3)
    given = options.parse_args()
    rows, watch = [], bench.Stopwatch("cpu", given.clock)
    for kind in ("whole", "missing", "diverged"):
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name), kind, given.candidates, given.seeds)
            results = read(Path(name))
            assert set(results.effects()["answer"]) > {"better", "worse"} and results.summary(plain=True)
            taken: dict[str, list[float]] = {"effects": [], "summary": []}
            for _ in range(given.rounds):
                results = read(Path(name))
                taken["effects"].append(watch(results.effects))
                taken["summary"].append(watch(lambda fresh=results: fresh.summary(plain=True)))
        for what, seconds in taken.items():
            row = (given.candidates, given.seeds, kind, what, round(statistics.median(seconds), 2))
            rows.append(dict(zip(COLUMNS, row, strict=True)))
            bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, given.csv)


if __name__ == "__main__":
    main()
