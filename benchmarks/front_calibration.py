"""Is the probability of being on the front what it says? Reliability over simulated studies.

    python benchmarks/front_calibration.py [--csv FILE] [--figure FILE] [--rounds 2000]

A study has k candidates whose costs spread over two decades, log-uniformly; quality follows a power law in cost, and
each candidate differs from it by 15 % (a deviation of the logarithm); a seed moves all candidates by 10 %, and each
value has noise of 10 % of its own, of several distributions. With one seed each the spread is told by a confirmation
of four candidates on five fresh seeds. Every candidate of every study brings its probability, and whether it is on the
front of the expected values. In each bin of probability the two should agree. Beside the probability (`probable`)
stand a bootstrap of the seeds (`bootstrap`), and the front of the means taken for certain (`means`).

`error` is the mean over candidates of the distance between the probability of a bin and the share that came true;
`worst` the largest such distance of a bin with at least 1 % of the candidates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.results.fronts.drawn_fronts import undominated
from ablate.results.fronts.probable import draw_means, read_seeds
from ablate.results.fronts.spread import Elsewhere

Array = NDArray[np.float64]
DRAWS = 1000
BINS = 10
COLUMNS = ("seeds", "candidates", "noise", "studies", "method", "low", "high", "share", "probability", "came_true")
METHODS = ("probable", "bootstrap", "means")


@dataclass(frozen=True)
class Scenario:
    """What studies are drawn from."""

    seeds: int
    candidates: int = 36
    noise: str = "normal"
    scatter: float = 0.15
    spread: float = 0.1

    def draw(self, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Return costs (k,), expected values (k,) and what was measured (k, seeds)."""
        k = self.candidates
        cost = np.exp(rng.uniform(0, np.log(100), k))
        true = cost**-0.3 * np.exp(self.scatter * rng.normal(size=k))
        own = np.exp(rng.uniform(np.log(0.5), np.log(2), k)) if self.noise == "unequal" else np.ones(k)
        seed = self.spread * rng.normal(size=self.seeds)
        noise = self.spread * own[:, None] * NOISES.get(self.noise, NOISES["normal"])(rng, (k, self.seeds))
        return cost, true, true[:, None] * np.maximum(1 + seed + noise, 0.05)

    def elsewhere(self, rng: np.random.Generator) -> Elsewhere | None:
        """Return what four candidates tell of the spread on five fresh seeds, where there is one seed each."""
        return Elsewhere(self.spread**2 * rng.chisquare(12), 12.0) if self.seeds == 1 else None


def _skewed(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Draw lognormal values, centred, of deviation 1 and skewness 2.9."""
    values = np.exp(0.7 * rng.normal(size=shape))
    return (values - np.exp(0.245)) / np.sqrt((np.exp(0.49) - 1) * np.exp(0.49))


NOISES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed": _skewed,
    "heavy": lambda rng, shape: rng.standard_t(3, size=shape) / np.sqrt(3),
}
SCENARIOS = (
    *(Scenario(seeds) for seeds in (1, 2, 3, 5, 7)),
    *(Scenario(3, noise=noise) for noise in ("skewed", "heavy", "unequal")),
    *(Scenario(2, noise=noise) for noise in ("skewed", "heavy", "unequal")),
    *(Scenario(3, candidates=k) for k in (4, 12, 100)),
    Scenario(3, scatter=0.3),
    Scenario(3, scatter=0.05),
)


def told(scenario: Scenario, rng: np.random.Generator) -> tuple[dict[str, Array], NDArray[np.bool_]]:
    """Draw a study; return the probabilities (k,) that each method tells, and who is on the front (k,)."""
    cost, true, values = scenario.draw(rng)
    means = draw_means(read_seeds(values, scenario.elsewhere(rng)), cost, rng, DRAWS)
    picks = rng.integers(0, scenario.seeds, (DRAWS, scenario.seeds))
    by_method = {
        "probable": means,
        "bootstrap": values[:, picks].mean(axis=2).T,
        "means": values.mean(axis=1)[None],
    }
    chances = {name: undominated(drawn, cost).mean(axis=0) for name, drawn in by_method.items()}
    return chances, undominated(true[None], cost)[0]


def reliability(scenario: Scenario, studies: int, seed: int = 0) -> pd.DataFrame:
    """Simulate studies; return a row a method and bin: its probability, how often it came true, and its share."""
    rng = np.random.default_rng(seed)
    found = [told(scenario, rng) for _ in range(studies)]
    truth = np.concatenate([true for _, true in found])
    return pd.DataFrame(
        [
            {"seeds": scenario.seeds, "candidates": scenario.candidates, "noise": _name(scenario), **row}
            for method in METHODS
            for row in _bins(np.concatenate([chances[method] for chances, _ in found]), truth, studies, method)
        ]
    )


def _name(scenario: Scenario) -> str:
    return (
        scenario.noise if scenario.scatter == Scenario(1).scatter else f"{scenario.noise}, scatter {scenario.scatter}"
    )


def _bins(chances: Array, truth: NDArray[np.bool_], studies: int, method: str) -> Iterator[dict[str, object]]:
    place = np.minimum((chances * BINS).astype(int), BINS - 1)
    for i in range(BINS):
        own = place == i
        if own.any():
            yield {
                "studies": studies,
                "method": method,
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "share": round(float(own.mean()), 5),
                "probability": round(float(chances[own].mean()), 4),
                "came_true": round(float(truth[own].mean()), 4),
            }


def errors(table: pd.DataFrame) -> tuple[float, float]:
    """Return the mean distance between probability and what came true, and the largest one of a bin with 1 %."""
    distance = (table["probability"] - table["came_true"]).abs()
    return float((distance * table["share"]).sum()), float(distance[table["share"] >= 0.01].max())


def main() -> None:
    parser = bench.options(__doc__, rounds=2000)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    tables = []
    for scenario in SCENARIOS:
        begun = time.process_time()
        table = reliability(scenario, arguments.rounds)
        tables.append(table)
        text = "   ".join(
            f"{method} {mean:.3f} ({worst:.3f})"
            for method in METHODS
            for mean, worst in [errors(table[table["method"] == method])]
        )
        seconds = time.process_time() - begun
        about = f"{scenario.seeds} seeds, {scenario.candidates} candidates, {_name(scenario)}"
        print(f"{about:48} {text}   {seconds:.0f} CPU s", flush=True)
    every = pd.concat(tables)
    if arguments.csv is not None:
        every.to_csv(arguments.csv, index=False, columns=list(COLUMNS))
    if arguments.figure is not None:
        draw(every, arguments.figure)


def draw(table: pd.DataFrame, file: Path) -> None:
    """Draw the reliability curves of the product's probability and of the bootstrap."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10.4, 4.4), sharey=True, layout="constrained")
    titles = {"probable": "probability of being on the front", "bootstrap": "bootstrap of the seeds"}
    keys = ["seeds", "candidates", "noise"]
    for axes, (method, title) in zip(panels, titles.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for i, ((seeds, k, noise), own) in enumerate(
            table[table["method"] == method].groupby(keys, sort=False, observed=True)
        ):
            if method == "bootstrap" and seeds == 1:
                continue  # of one seed a bootstrap says nothing
            large = own[own["share"] >= 0.002]
            label = f"{seeds} seed{'s' if seeds > 1 else ''}, {k}, {noise}"
            look: dict[str, Any] = {"color": f"C{i % 10}", "linestyle": "-" if i < 10 else "--", "linewidth": 1}
            axes.plot(large["probability"], large["came_true"], marker="o", markersize=3, label=label, **look)
        axes.set(title=title, xlabel="probability that is told", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    panels[0].set_ylabel("share that is on the front")
    title = "seeds, candidates, noise"
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right", fontsize=7, frameon=False, title=title, title_fontsize=7)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
