"""Which sampler finds the front of quality against cost? Each on an analytic stand-in for studies/pareto_search.yaml.

    python benchmarks/samplers.py [--csv FILE] [--rounds 10] [--trials 36] [--only tpe,random]

The space is the study's own, with its conditions; candidates are asked for and told through the engine's ledger, as in
a study, one after the other. In place of a training stands a formula: Gflops grow with the square of the width, quality
follows a power law in Gflops, and each choice has an effect on both, alone and together with the backbone, drawn once
for each repeat; two seeds of a candidate would differ by 5 %. What is compared is the share of the hypervolume of the
whole space (log Gflops, log quality) that the front covers after --trials candidates. How well a formula stands in for
trainings, nobody knows: it tells a sampler that does not learn from one that does.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bench
import numpy as np

from ablate.candidates.objectives import Objective
from ablate.engine.ledger import Ledger
from ablate.kinds.design import Design
from ablate.results.front import hypervolume, nondominated
from ablate.spec.slots import create
from ablate.study.load import load_study

COLUMNS = ("design", "repeat", "trials", "share", "cpu_seconds")
STUDY = Path(__file__).parents[1] / "studies" / "pareto_search.yaml"
DESIGNS: dict[str, dict[str, Any]] = {
    "random": {"type": "random"},
    "sobol": {"type": "sobol"},
    "nsga2": {"type": "search", "algorithm": "nsga2", "population": 12},
    "nsga2 population 6": {"type": "search", "algorithm": "nsga2", "population": 6},
    "nsga3": {"type": "search", "algorithm": "nsga3", "population": 12},
    "tpe": {"type": "search", "algorithm": "tpe"},
    "tpe joint": {"type": "search", "algorithm": "tpe", "joint": True},
    "gp": {"type": "search", "algorithm": "gp"},
}
OBJECTIVES = (Objective("kid", "kid"), Objective("gflops", "gflops"))
SCATTER = 0.05  # of quality over seeds, relative


class StandIn:
    """The formula of one repeat: (log Gflops, log quality) of an assignment."""

    def __init__(self, repeat: int) -> None:
        self._repeat = repeat

    def _normal(self, *key: Any) -> float:
        text = json.dumps([self._repeat, *key]).encode()
        return float(np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:8], "little")).normal())

    def __call__(self, assignment: Mapping[str, Any]) -> tuple[float, float]:
        """Return (log Gflops, log quality), the smaller the better."""
        backbone = assignment["backbone"]
        width = float(assignment["backbone.width"])
        others = [(p, c) for p, c in assignment.items() if p not in ("backbone", "backbone.width")]
        cost = 2 * np.log(width) + 0.5 * self._normal("cost", backbone)
        cost += sum(0.05 * self._normal("cost", p, c) for p, c in others)
        quality = -0.35 * cost + 0.15 * self._normal(backbone) + 0.02 * (np.log(width) - np.log(48)) ** 2
        quality += sum(0.12 * self._normal(p, c) + 0.06 * self._normal(backbone, p, c) for p, c in others)
        return float(cost), float(quality)

    def measured(self, assignment: Mapping[str, Any]) -> tuple[float, float]:
        """The same with the scatter of one seed."""
        cost, quality = self(assignment)
        return cost, quality + SCATTER * self._normal("seed", sorted(assignment.items()))


def search(loaded: Any, spec: Mapping[str, Any], trials: int, repeat: int, formula: StandIn) -> tuple[Any, float]:
    """Ask and tell `trials` candidates; return their true points (n, 2), and the seconds that it took."""
    design = create(Design, {**spec, "trials": trials}, loaded.catalog)
    points = []
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "optuna.db", "stand_in", loaded.space, design, OBJECTIVES, repeat)
        begun = time.process_time()
        while (entry := ledger.ask()) is not None:
            cost, quality = formula.measured(entry.assignment)
            points.append(formula(entry.assignment))
            ledger.tell(entry, [float(np.exp(quality)), float(np.exp(cost))])
        seconds = time.process_time() - begun
        ledger.close()
    return np.array(points), seconds


def main() -> None:
    parser = bench.options(__doc__, rounds=10)
    parser.add_argument("--trials", type=int, default=36)
    parser.add_argument("--only", help="designs, with commas between them")
    arguments = parser.parse_args()
    loaded = load_study(STUDY, overrides=["constraints=null"])
    everything = list(loaded.space.everything())
    print(f"{len(everything):,} candidates")
    names = [name for name in DESIGNS if not arguments.only or name in arguments.only.split(",")]
    rows: list[dict[str, Any]] = []
    for repeat in range(arguments.rounds):
        formula = StandIn(repeat)
        whole = np.array([formula(assignment) for assignment in everything])
        reference = whole.max(axis=0)
        best = hypervolume(whole[nondominated(whole)], reference)
        for name in names:
            points, seconds = search(loaded, DESIGNS[name], arguments.trials, repeat, formula)
            share = hypervolume(points[nondominated(points)], reference) / best
            rows.append({"design": name, "repeat": repeat, "trials": len(points), "share": round(share, 4)})
            rows[-1]["cpu_seconds"] = round(seconds, 2)
            bench.show(rows[-1], COLUMNS)
    for name in names:
        shares = [row["share"] for row in rows if row["design"] == name]
        times = [row["cpu_seconds"] for row in rows if row["design"] == name]
        spread = f"{min(shares):.3f} to {max(shares):.3f}"
        print(f"{name}: median share {statistics.median(shares):.3f} ({spread}), {statistics.median(times):.1f} CPU s")
    bench.keep(rows, COLUMNS, arguments.csv)


if __name__ == "__main__":
    main()
