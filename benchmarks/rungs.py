"""Does quality at a point of the training tell the order at the end? Rank correlation on recorded tables.

    python benchmarks/rungs.py [--csv FILE] [--rounds 2000] [--recipe NAME=TABLE[,TABLE...]]...

For each recipe of training and each point: Spearman's rank correlation, over candidates with seed 0, of the metric
there with the metric at the end on the full number of samples; its 95 % interval by bootstrap over candidates
(--rounds); how many of the best third at the end are among the best third at the point, which is what successive
halving with a factor of 3 lets go on; and the median of the metric at the end. Beyond the first recipe also the
difference of its correlation from that of the first at the same share, with the interval of the same draws of
candidates (they are paired).

A recipe is a recorded table (docs/replay.md). Further tables of it are of shorter trainings: their ends are its points.
So `wsd, cooled=wsd.parquet,wsd_480.parquet` measures a rung after the learning rate has fallen, as a branch of the
training would that is then thrown away. Without --recipe: those of studies/rungs.yaml that are in
results/recorded/recipes, or the table mnist16 where there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bench
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

import ablate

COLUMNS = (
    *("recipe", "share", "images", "candidates", "correlation", "low", "high", "of_the_best_third"),
    *("difference", "difference_low", "difference_high", "end"),
)
RECORDED = Path(__file__).parents[1] / "results" / "recorded"
RECIPES = RECORDED / "recipes"
COOLED = "wsd, cooled"  # of wsd, at points at which a training of that length has cooled down
FIRST = "constant"

Array = NDArray[np.float64]


def given(recipes: Sequence[str]) -> dict[str, list[Path]]:
    """Return the tables of each recipe, as they are asked for, or those that are recorded."""
    if recipes:
        pairs = (text.partition("=") for text in recipes)
        return {name: [Path(file) for file in files.split(",")] for name, _, files in pairs}
    files = {file.stem: file for file in sorted(RECIPES.glob("*.parquet"))}
    if not files:
        return {"constant, warm-up 640": [RECORDED / "mnist16.parquet"]}
    whole = {name: [file] for name, file in files.items() if not name.rpartition("_")[2].isdigit()}
    shorter = [file for name, file in files.items() if name.startswith("wsd_") and name.rpartition("_")[2].isdigit()]
    if shorter and "wsd" in files:
        whole[COOLED] = [files["wsd"], *shorter]
    return dict(sorted(whole.items(), key=lambda one: (one[0] != FIRST, one[0])))


def read(file: Path) -> pd.DataFrame:
    """Read the complete trials of seed 0, with the candidate's choices as the index."""
    table = ablate.recorded(file)
    table = table[(table["seed"] == 0) & (table["state"] == "complete")]
    choices = sorted(str(column) for column in table.columns if str(column).startswith("c."))
    names = ["/".join(map(str, row)) for row in table[choices].itertuples(index=False)]
    return table.assign(candidate=names).set_index("candidate").sort_index(kind="stable")


def points(files: Sequence[Path]) -> tuple[pd.Series[float], dict[float, tuple[int, pd.Series[float]]]]:
    """Return the values at the end, and by share of the training (images, values at that point), by candidate."""
    first, *shorter = map(read, files)
    ends = first[first["share"] == 1]
    end = ends.loc[ends["samples"] == ends["samples"].max(), "value"]
    length = int(ends["images"].iloc[0])
    during = first[first["samples"] == first["samples"].min()]
    if shorter:  # the ends of these are the points
        during = pd.concat([table[table["share"] == 1] for table in shorter])
    by_images = {int(images): rows["value"] for images, rows in during.groupby("images", observed=True)}
    return end, {images / length: (images, values.reindex(end.index)) for images, values in by_images.items()}


def correlation(x: Array, y: Array) -> float:
    """Return Spearman's rank correlation; NaN where one does not vary."""
    return float(spearmanr(x, y).statistic) if np.ptp(x) > 0 and np.ptp(y) > 0 else float("nan")


def rows_of(name: str, files: Sequence[Path], rounds: int, first: dict[float, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row a point of a recipe. first: by share, what the first recipe had there; it is filled by it."""
    end, during = points(files)
    third = len(end) // 3
    is_first = not first
    for share, (images, values) in sorted(during.items()):
        missing = int(values.isna().sum())
        if missing:
            raise SystemExit(f"{name}: {missing} candidates have no value after {images} images")
        x, y = values.to_numpy(dtype=float), end.to_numpy(dtype=float)
        draws = np.random.default_rng(0)  # the same at each point and of each recipe
        drawn = [draws.integers(0, len(x), len(x)) for _ in range(rounds)]
        found = np.array([correlation(x[rows], y[rows]) for rows in drawn])
        kept = len(set(np.argsort(x)[:third]) & set(np.argsort(y)[:third])) / max(third, 1)
        row = {"recipe": name, "share": f"{share:.4g}", "images": images, "candidates": len(x)}
        numbers = dict(zip(COLUMNS[4:8], (correlation(x, y), *_interval(found), kept), strict=True))
        if is_first:
            first[round(share, 3)] = (end.index, numbers["correlation"], found)
        elif (beside := first.get(round(share, 3))) is not None and beside[0].equals(end.index):
            difference = numbers["correlation"] - beside[1]
            numbers |= dict(zip(COLUMNS[8:11], (difference, *_interval(found - beside[2])), strict=True))
        numbers["end"] = float(end.median())
        yield {**dict.fromkeys(COLUMNS, ""), **row, **{key: round(value, 3) for key, value in numbers.items()}}


def _interval(values: Array) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    parser = bench.options(__doc__, rounds=2000)
    parser.add_argument("--recipe", action="append", metavar="NAME=TABLE[,TABLE...]")
    arguments = parser.parse_args()
    rows, first = [], dict[float, Any]()
    for name, files in given(arguments.recipe or ()).items():
        for row in rows_of(name, files, arguments.rounds, first):
            bench.show(row, COLUMNS)
            rows.append(row)
    bench.keep(rows, COLUMNS, arguments.csv)


if __name__ == "__main__":
    main()
