"""How often is a verdict wrong, and what does it find? By simulated studies whose truth is known (`ablate.simulate`).

    python benchmarks/verdicts.py [--csv FILE] [--figure FILE] [--rounds 4000]

--rounds: studies of each row. A value is candidate + seed + error. Errors are normal, skewed (lognormal, skewness
1.75) or heavy-tailed (Student's t, 3 degrees of freedom). Their deviations are `equal`; `fourfold`: from 1 to 4,
evenly in the logarithm, the baseline in turn at a quarter of the places; `one 5×`: one candidate is five times
noisier than all others; `baseline 3×`: the baseline is three times noisier. Parts:

- error: all candidates equal. Of the declared tests: the share of studies with any claim of a difference, and what
  intervals cover. `two_way pooled` is the plain two-way model.
- growth: the same where one looks at 2, 3, 5, 7 and 10 seeds, or at 3, 5 and 10, and claims whatever any look claims;
  `open`: nothing was declared; `most 10`: `most_seeds: 10` was. `naive`: as if each look were the only one.
- pairs: all pairs, none of which differs.
- power: one candidate of four or of twelve is better by an effect, in deviations of the error.
- equivalent: the same, within a margin of 2 deviations or outside of it.
- front: 36 candidates whose costs span two decades, quality a power law of the cost with 15 % of scatter, seeds that
  deviate by 10 %: the front of the means, and the best.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bench
import numpy as np
import pandas as pd

import ablate
from ablate.kinds.analysis import Analysis
from ablate.statistics.answers import Look, answers
from ablate.statistics.errors import shape_of

SEEDS = (2, 3, 5, 7, 10)
CANDIDATES = (4, 12)
SHAPES = ("normal", "skewed", "heavy")
TESTS: dict[str, Any] = {
    "two_way": "two_way",
    "two_way pooled": {"type": "two_way", "variance": "pooled"},
    "welch": "welch",
    "permutation": "permutation",
    "bootstrap": {"type": "bootstrap", "draws": 2000},
}
FEWER = 16  # times fewer studies of the bootstrap, which is slow
ROTATIONS = 4  # places that the baseline takes among unequal spreads
MEASURED = (
    *("false_difference", "power", "coverage", "coverage_all", "coverage_best", "coverage_best_alone"),
    *("false_equivalence", "found_equivalence", "best_wrong", "best_told_too_good"),
    *("front_wrong", "front_dominated", "front_missing"),
)
COLUMNS = ("part", "test", "candidates", "seeds", "errors", "spread", "effect", "studies", *MEASURED)


def main() -> None:
    options = bench.options(__doc__, rounds=4000)
    options.add_argument("--figure", type=Path, help="draw the figure here")
    options.add_argument("--parts", nargs="*", default=["error", "growth", "pairs", "power", "equivalent", "front"])
    given = options.parse_args()
    parts = {"error": error, "growth": growth, "pairs": pairs, "power": power, "equivalent": equivalent, "front": front}
    rows = []
    for part in given.parts:
        for row in parts[part](given.rounds):
            rows.append(row)
            bench.show({k: v for k, v in row.items() if v != ""}, [k for k in COLUMNS if row[k] != ""])
    bench.keep(rows, COLUMNS, given.csv)
    if given.figure:
        draw(pd.DataFrame(rows), given.figure)


def error(studies: int) -> Iterator[dict[str, Any]]:
    for test, k, shape in itertools.product(TESTS, CANDIDATES, SHAPES):
        for spread in ("equal", "fourfold", "one 5×", "baseline 3×"):
            count = studies // FEWER if test == "bootstrap" else studies
            yield from _rows("error", test, k, shape, spread, "", count, seeds=SEEDS)


def growth(studies: int) -> Iterator[dict[str, Any]]:
    for k, shape, spread in itertools.product(CANDIDATES, SHAPES, ("equal", "fourfold")):
        for looks in ((2, 3, 5, 7, 10), (3, 5, 10)):
            at = " ".join(map(str, looks))
            for most in (None, 10):
                label = f"{spread}, looks {at}, {'open' if most is None else 'most 10'}"
                yield from _rows(
                    "growth", "two_way", k, shape, spread, "", studies, label, looks=looks, most_seeds=most
                )
            share = _naive(k, shape, spread, looks, studies)
            label = f"{spread}, looks {at}, naive"
            table = pd.DataFrame({"false_difference": [share]})
            yield _row("growth", "two_way", k, looks[-1], shape, label, "", studies, table)


def _naive(k: int, shape: str, spread: str, looks: Sequence[int], studies: int) -> float:
    """The share of studies of equals with a claim at any look, where each spends all of alpha."""
    test, draw, claimed = ablate.catalog().create(Analysis, "two_way"), shape_of(shape), []
    pairs = np.column_stack([np.arange(1, k), np.zeros(k - 1, int)])
    for i, deviations in enumerate(spreads := _deviations(spread, k)):
        errors = draw(np.random.default_rng([i, k]), (studies // len(spreads), k, looks[-1]))
        values = np.array(deviations)[:, None] * errors
        each = [Look(np.arange(looks[-1]) < n, 1.0) for n in looks]
        claimed.append((answers(test, values, pairs, looks=each).corrected < 0.05).any(axis=1))
    return float(np.concatenate(claimed).mean())


def pairs(studies: int) -> Iterator[dict[str, Any]]:
    for k, shape, spread in itertools.product(CANDIDATES, SHAPES, ("equal", "fourfold")):
        yield from _rows("pairs", "two_way", k, shape, spread, "", studies, seeds=SEEDS, all_pairs=True)


def power(studies: int) -> Iterator[dict[str, Any]]:
    for test, k, shape in itertools.product(TESTS, CANDIDATES, SHAPES):
        for effect in (1.0, 1.5, 2.0, 3.0, 4.0, 6.0):
            count = studies // FEWER if test == "bootstrap" else studies
            yield from _rows("power", test, k, shape, "equal", effect, count, seeds=SEEDS, effects=-effect)


def equivalent(studies: int) -> Iterator[dict[str, Any]]:
    for k, shape, effect in itertools.product(CANDIDATES, SHAPES, (0.0, 1.0, 2.0)):
        yield from _rows(
            "equivalent", "two_way", k, shape, "equal", effect, studies, seeds=SEEDS, effects=effect, delta=2.0
        )


def front(studies: int) -> Iterator[dict[str, Any]]:
    draws = np.random.default_rng(0)
    worlds, number = 40, 36
    for shape in SHAPES:
        outcomes = []
        for _ in range(worlds):
            costs = 10 ** draws.uniform(0, 2, number)
            means = np.log(costs**-0.3) + 0.15 * draws.standard_normal(number)  # of the logarithm of quality
            outcomes.append(
                ablate.simulate(
                    number, [1, 2, 3, 5, 10], effects=means.tolist(), spread=0.1, errors=shape, seed_spread=0.0,
                    costs=costs.tolist(), studies=max(studies // worlds, 1), random_seed=len(outcomes),
                )
            )  # fmt: skip
        for seeds, table in pd.concat(outcomes).groupby("seeds", observed=True):
            yield _row("front", "two_way", number, int(seeds), shape, "equal", "", worlds * (studies // worlds), table)


def _rows(
    part: str,
    test: str,
    k: int,
    shape: str,
    spread: str,
    effect: float | str,
    studies: int,
    label: str = "",
    **more: Any,
) -> Iterator[dict[str, Any]]:
    """Simulate with the baseline at each of its places, and average."""
    deviations = _deviations(spread, k)
    tables = [
        ablate.simulate(
            k, test=TESTS[test], spread=one, errors=shape, studies=studies // len(deviations), random_seed=i, **more
        )
        for i, one in enumerate(deviations)
    ]
    for seeds, table in pd.concat(tables).groupby("seeds", observed=True):
        yield _row(part, test, k, int(seeds), shape, label or spread, effect, int(table["studies"].sum()), table)


def _row(
    part: str,
    test: str,
    k: int,
    seeds: int,
    shape: str,
    spread: str,
    effect: float | str,
    studies: int,
    of: pd.DataFrame,
) -> dict[str, Any]:
    head = dict(zip(COLUMNS, (part, test, k, seeds, shape, spread, effect, studies), strict=False))
    means = {name: of[name].mean() if name in of else np.nan for name in MEASURED}
    return {**head, **{name: "" if np.isnan(value) else f"{value:.3f}" for name, value in means.items()}}


def _deviations(spread: str, k: int) -> Sequence[list[float]]:
    """The deviations of k candidates, of which the first is the baseline; several where it takes several places."""
    if spread == "fourfold":
        ramp = np.geomspace(1, 4, k)
        return [np.roll(ramp, -i * k // ROTATIONS).tolist() for i in range(ROTATIONS)]
    equal = np.ones(k)
    equal[{"equal": 0, "one 5×": 1, "baseline 3×": 0}[spread]] = {"equal": 1, "one 5×": 5, "baseline 3×": 3}[spread]
    return [equal.tolist()]


def draw(rows: pd.DataFrame, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.6), layout="constrained")
    axes = figure.subplots(2, 3)
    numbers = rows.assign(**{name: pd.to_numeric(rows[name]) for name in MEASURED})
    colours = dict(zip(TESTS, ("#0173b2", "#949494", "#d55e00", "#029e73", "#cc78bc"), strict=True))
    of_error = numbers[numbers["part"] == "error"]
    for ax, spread in zip(axes[0], ("equal", "fourfold", "one 5×"), strict=True):
        shown = of_error[of_error["spread"] == spread]
        for test, colour in colours.items():
            worst = shown[shown["test"] == test].groupby("seeds", observed=True)["false_difference"].max()
            ax.plot(worst.index, 100 * worst, "o-", color=colour, label=test, markersize=4)
        ax.axhline(5, color="#222222", linewidth=0.8)
        ax.set(
            title=f"equals called different: spreads {spread}",
            xlabel="seeds",
            ylabel="% of studies, the worst case",
            ylim=(0, 30),
        )
    axes[0][0].legend(frameon=False)
    for test, colour in colours.items():
        shown = of_error[(of_error["test"] == test) & of_error["spread"].isin(["equal", "fourfold"])]
        between = shown.groupby("seeds", observed=True)["coverage"].agg(["min", "max"])
        axes[1][0].fill_between(between.index, 100 * between["min"], 100 * between["max"], color=colour, alpha=0.25)
    for level in (93, 97):
        axes[1][0].axhline(level, color="#222222", linewidth=0.8, linestyle=":")
    axes[1][0].set(
        title="coverage of a 95 % interval", xlabel="seeds", ylabel="%, spreads equal or fourfold", ylim=(88, 100)
    )
    for ax, k in zip(axes[1][1:], CANDIDATES, strict=True):
        of_power = numbers[
            (numbers["part"] == "power") & (numbers["candidates"] == k) & (numbers["errors"] == "normal")
        ]
        for test, colour in colours.items():
            for effect, line in ((2.0, ":"), (3.0, "--"), (4.0, "-")):
                one = of_power[(of_power["test"] == test) & (of_power["effect"] == effect)]
                ax.plot(one["seeds"], 100 * one["power"], line, color=colour, marker="o", markersize=3)
        ax.set(title=f"found among {k} candidates", xlabel="seeds", ylabel="% (effect 4 –, 3 --, 2 ··)", ylim=(0, 102))
    for ax in axes.ravel():
        ax.set_xticks(SEEDS)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    main()
