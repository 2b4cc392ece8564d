"""Does what a search of so many candidates tells agree with the whole space? On the recorded table (docs/replay.md).

    python benchmarks/explained_searches.py [--csv FILE] [--figure FILE] [--rounds 30] [--table FILE]...

A search asks for --budgets of the table's candidates, by chance and by NSGA-II, --rounds times each. Of what it has
seen is computed

- the importance of the choices for quality (`Results.importance`): its rank correlation with that of the whole table,
  whether the most important choice is the same, how often the interval holds the importance of the whole table, and how
  often a choice that is told from chance (p < 0.05) is one that the whole table tells from chance;
- the front: how many of its members are on the front of the whole table, how many of that it has found, and which share
  of the hypervolume of the whole table it covers (log axes, up to the worst of the table).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench
import numpy as np
import optuna
import pandas as pd
from scipy.stats import spearmanr
from searches import SAMPLERS, TABLES, Cover, Table, read, search

from ablate.kinds.design import Design
from ablate.kinds.fidelity import Fidelity
from ablate.results.front import nondominated
from ablate.results.searches.importance import ped_anova
from ablate.spec.slots import create

BUDGETS = (24, 48, 72, 96, 144, 192)
METHODS = ("random", "nsga2")
COLUMNS = (
    *("method", "candidates", "repeat", "rank_correlation", "same_first", "covered", "told", "told_rightly"),
    *("front_precision", "front_recall", "hypervolume"),
)
RESAMPLES = 60
ALPHA = 0.05


def choices_of(table: Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the choices of candidates, by the assignments that give them."""
    by_hash = {digest: assignment for assignment, digest in table.assignments if digest is not None}
    return [by_hash[name] for name in names]


def explained(table: Table, names: Sequence[str]) -> pd.DataFrame:
    """Compute the importance of the choices over some candidates, by path."""
    quality = np.array([table.point(name)[0] for name in names])
    return ped_anova(choices_of(table, names), quality, resamples=RESAMPLES).set_index("path")


def front_of(table: Table, names: Sequence[str]) -> set[str]:
    """Return the candidates on the front of quality and Gflops."""
    points = np.array([table.point(name) for name in names])
    return {name for name, on in zip(names, nondominated(points), strict=True) if on}


def asked(table: Table, method: str, seed: int, most: int) -> list[str]:
    """Return the candidates that a search asks for, in order."""
    catalog = table.loaded.catalog
    design = create(Design, {**SAMPLERS[method], "trials": most}, catalog)
    fidelity = create(Fidelity, "none", catalog)
    return [digest for _, digest in search(table, design, fidelity, seed) if digest is not None]


def compare(table: Table, names: Sequence[str], truth: pd.DataFrame, front: set[str], cover: Cover) -> dict[str, Any]:
    """Return how what these candidates tell agrees with the whole table."""
    found = explained(table, names).reindex(truth.index)
    there = found["importance"].notna()
    covered = (found["low"] <= truth["importance"]) & (truth["importance"] <= found["high"])
    told = found["p"] < ALPHA
    own = front_of(table, names)
    return {
        "rank_correlation": round(
            float(spearmanr(found["importance"][there], truth["importance"][there]).statistic), 3
        ),
        "same_first": int(found["importance"].idxmax() == truth["importance"].idxmax()),
        "covered": round(float(covered[there].mean()), 3),
        "told": int(told.sum()),
        "told_rightly": int((told & (truth["p"] < ALPHA)).sum()),
        "front_precision": round(len(own & front) / len(own), 3),
        "front_recall": round(len(own & front) / len(front), 3),
        "hypervolume": round(cover(list(names)), 4),
    }


def main() -> None:
    parser = bench.options(__doc__, rounds=30)
    parser.add_argument("--table", type=Path, action="append")
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS))
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = read(arguments.table or sorted(TABLES.glob("*.parquet")))
    everything = list(table.records)
    truth, front = explained(table, everything), front_of(table, everything)
    print(f"{len(everything)} candidates, {len(front)} on the front")
    print(truth[["importance", "low", "high", "p"]].round(3).to_string())
    cover, rows = Cover(table, np.log), []
    for method in METHODS:
        orders = [asked(table, method, seed, max(arguments.budgets)) for seed in range(arguments.rounds)]
        for budget in arguments.budgets:
            own = [
                {"method": method, "candidates": budget, "repeat": i, **compare(table, names, truth, front, cover)}
                for i, order in enumerate(orders)
                if len(names := order[:budget]) == budget
            ]
            rows += own
            print(f"{method:8} {budget:4}  {_told(own)}", flush=True)
    bench.keep(rows, COLUMNS, arguments.csv)
    if arguments.figure is not None:
        draw(pd.DataFrame(rows), len(everything), arguments.figure)


def _told(rows: Sequence[dict[str, Any]]) -> str:
    means = pd.DataFrame(rows)[list(COLUMNS[3:])].mean()
    return "  ".join(f"{name} {value:.2f}" for name, value in means.items())


def draw(frame: pd.DataFrame, whole: int, file: Path) -> None:
    """Draw how importance and front agree with the whole table, against the candidates that were trained."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {
        "importance": {
            "rank_correlation": "rank correlation with the whole table",
            "same_first": "the most important choice is the same",
            "covered": "the interval holds the whole table's",
        },
        "front": {
            "front_precision": "of its members on the front of the table",
            "front_recall": "of the table's front found",
            "hypervolume": "share of the hypervolume (log axes)",
        },
    }
    figure, axes = pyplot.subplots(1, 2, figsize=(9.6, 4.4), sharey=True, layout="constrained")
    for one, (title, columns) in zip(axes, panels.items(), strict=True):
        for i, (column, label) in enumerate(columns.items()):
            for method, dash in (("random", "-"), ("nsga2", "--")):
                means = frame[frame["method"] == method].groupby("candidates", observed=True)[column].mean()
                text = label if method == "random" else None
                one.plot(means.index, means, dash, color=f"C{i}", marker="o", markersize=3, label=text)
        one.set(title=title, xlabel=f"candidates of the {whole} that were trained", ylim=(0, 1.02))
        one.legend(loc="lower right", fontsize="small", frameon=False)
    axes[0].set_ylabel("mean over searches (solid: random, dashed: NSGA-II)")
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
