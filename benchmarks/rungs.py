"""Does quality at a point of the training tell the order at the end? Rank correlation on a recorded table.

    python benchmarks/rungs.py [--csv FILE] [--table results/recorded/mnist16_cosine.parquet] [--rounds 2000]

For each point: Spearman's rank correlation, over candidates with seed 0, of the metric there with the metric at the end
on the full number of samples; its 95 % interval by bootstrap over candidates (--rounds); and how many of the best third
at the end are among the best third at the point, which is what successive halving with a factor of 3 lets go on.
"""

from __future__ import annotations

from pathlib import Path

import bench
import numpy as np
from scipy.stats import spearmanr

import ablate

COLUMNS = ("share", "images", "candidates", "correlation", "low", "high", "of_the_best_third")
TABLE = Path(__file__).parents[1] / "results" / "recorded" / "mnist16_cosine.parquet"


def main() -> None:
    options = bench.options(__doc__, rounds=2000)
    options.add_argument("--table", type=Path, default=TABLE)
    given = options.parse_args()
    table = ablate.recorded(given.table)
    table = table[(table["seed"] == 0) & (table["state"] == "complete")]
    end = table[(table["share"] == 1) & (table["samples"] == table["samples"].max())].set_index("config_hash")
    during = table[table["samples"] == table["samples"].min()]
    draws = np.random.default_rng(0)
    third = len(end) // 3
    rows = []
    for share, points in during.groupby("share"):
        here = points.set_index("config_hash").reindex(end.index)
        x, y = here["value"].to_numpy(dtype=float), end["value"].to_numpy(dtype=float)
        drawn = (draws.integers(0, len(x), len(x)) for _ in range(given.rounds))
        low, high = np.percentile([spearmanr(x[rows_], y[rows_]).statistic for rows_ in drawn], [2.5, 97.5])
        kept = len(set(np.argsort(x)[:third]) & set(np.argsort(y)[:third])) / third
        numbers = (spearmanr(x, y).statistic, low, high, kept)
        columns = dict(zip(COLUMNS[3:], (round(float(value), 3) for value in numbers), strict=True))
        row = {"share": f"{share:g}", "images": int(here["images"].iloc[0]), "candidates": len(x), **columns}
        bench.show(row, COLUMNS)
        rows.append(row)
    bench.keep(rows, COLUMNS, given.csv)


if __name__ == "__main__":
    main()
