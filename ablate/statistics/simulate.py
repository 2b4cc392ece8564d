"""`ablate.simulate`: what a study's statistics would say of studies whose truth is known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ablate.errors import Argument, InputError
from ablate.kinds.analysis import Analysis
from ablate.statistics.answers import Answers, Look, answers
from ablate.statistics.correction import shares_of_looks
from ablate.statistics.errors import Draw, shape_of

BLOCK = 2**21  # values of the studies that are simulated at once
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Studies whose truth is known: value = candidate + seed + error, smaller is better. The baseline comes first."""

    means: Floats  # (k,) true means
    spread: Floats  # (k,) deviation of the error of each candidate
    errors: Draw  # of mean 0 and deviation 1
    seed_spread: float  # deviation of what a seed does to all candidates

    def draw(self, studies: int, seeds: int, generator: np.random.Generator) -> Floats:
        """Draw (studies, k, seeds) values."""
        k = len(self.means)
        shared = self.seed_spread * generator.standard_normal((studies, 1, seeds))
        return self.means[:, None] + shared + self.spread[:, None] * self.errors(generator, (studies, k, seeds))


def simulate(
    test: Analysis,
    candidates: int = 4,
    seeds: int | Sequence[int] = 3,
    *,
    effects: float | Sequence[float] = 0.0,
    spread: float | Sequence[float] = 1.0,
    errors: str | ArrayLike = "normal",
    seed_spread: float = 1.0,
    alpha: float = 0.05,
    delta: float | None = None,
    looks: Sequence[int] | None = None,
    most_seeds: int | None = None,
    all_pairs: bool = False,
    costs: Sequence[float] | None = None,
    studies: int = 2000,
    random_seed: int = 0,
) -> pd.DataFrame:
    """Simulate studies and return what their analysis came to, a row for each number of seeds: `ablate.simulate`."""
    world = _world(candidates, effects, spread, errors, seed_spread)
    cost = None if costs is None else _as_many("costs", costs, candidates)
    _check(alpha, studies, delta)
    plans = _plans(seeds, looks, most_seeds)
    pairs = np.column_stack(
        np.triu_indices(candidates, 1)[::-1] if all_pairs else (np.arange(1, candidates), np.zeros(candidates - 1, int))
    )
    rows = []
    for numbers, shares in plans:
        generator = np.random.default_rng([random_seed, numbers[-1]])
        step = max(1, BLOCK // (candidates * numbers[-1]))
        parts = []
        for start in range(0, studies, step):
            values = world.draw(min(step, studies - start), numbers[-1], generator)
            found = _judged(test, values, pairs, world, alpha, delta, numbers, shares)
            parts.append({**found, **_chosen(values, world), **({} if cost is None else _fronts(values, world, cost))})
        outcomes = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        rows.append({"candidates": candidates, "seeds": numbers[-1], "studies": studies, **_means(outcomes)})
    return pd.DataFrame(rows)


def _judged(
    test: Analysis,
    values: Floats,
    pairs: NDArray[np.int64],
    world: World,
    alpha: float,
    delta: float | None,
    numbers: Sequence[int],
    shares: Sequence[float],
) -> dict[str, NDArray[Any]]:
    """Return for each study what is claimed of it, and whether its intervals hold what is true, (b, ...) each."""
    n = values.shape[2]
    looks = [Look(np.arange(n) < number, share) for number, share in zip(numbers, shares, strict=True)]
    found: Answers = answers(test, values, pairs, alpha, delta, looks)
    truth = world.means[pairs[:, 0]] - world.means[pairs[:, 1]]
    claimed = np.where(found.corrected < alpha, found.sign, 0)
    wrong = (claimed != 0) & (claimed != np.sign(truth))
    real = truth != 0
    rows = np.arange(len(values))
    best = np.argmin(np.where(np.isnan(found.difference), np.inf, found.difference), axis=1)
    alone = found.error * test.compare(values, pairs).critical(alpha)
    holds = (found.low <= truth) & (truth <= found.high)
    holds_alone = np.abs(found.difference - truth) <= alone
    told = np.isfinite(found.low)
    out: dict[str, NDArray[Any]] = {
        "false_difference": np.asarray(wrong.any(axis=1)),
        "power": (claimed == np.sign(truth))[:, real].mean(axis=1) if real.any() else np.full(len(values), np.nan),
        "coverage": np.where(np.isfinite(alone), holds_alone, np.nan).mean(axis=1),
        "coverage_all": np.where(told.all(axis=1), holds.all(axis=1), np.nan),
        "coverage_best": np.where(told[rows, best], holds[rows, best], np.nan),
        "coverage_best_alone": np.where(np.isfinite(alone)[rows, best], holds_alone[rows, best], np.nan),
    }
    if delta is not None:
        alike = found.equivalent < alpha
        within = np.abs(truth) < delta
        out["false_equivalence"] = np.asarray((alike & ~within).any(axis=1))
        out["found_equivalence"] = alike[:, within].mean(axis=1) if within.any() else np.full(len(values), np.nan)
    return out


def _chosen(values: Floats, world: World) -> dict[str, NDArray[Any]]:
    """Return whether the best by its mean is truly the best, and by how much its mean is told too good.

    The best of many is partly the luckiest (Dodge et al. 2019).
    """
    means = values.mean(axis=2) - values.mean(axis=2)[:, :1]  # what seeds do to all is no candidate's
    best = means.argmin(axis=1)
    rows, true = np.arange(len(values)), world.means - world.means[0]
    return {
        "best_wrong": true[best] > true.min(),
        "best_told_too_good": true[best] - means[rows, best],
    }


def _fronts(values: Floats, world: World, costs: Floats) -> dict[str, NDArray[Any]]:
    """Return what is wrong with the fronts of the means and what the candidates cost, (b,) each."""
    on, true = _front(values.mean(axis=2), costs), _front(world.means[None], costs)[0]
    return {
        "front_wrong": (on & ~true).any(axis=1),
        "front_dominated": (on & ~true).sum(axis=1) / on.sum(axis=1),
        "front_missing": (~on & true).sum(axis=1) / true.sum(),
    }


def _front(quality: Floats, costs: Floats) -> NDArray[np.bool_]:
    """Return which of (b, k) candidates no other one dominates, both smaller is better."""
    dominated = np.zeros(quality.shape, dtype=bool)
    for i, cost in enumerate(costs):
        no_worse = (costs <= cost) & (quality <= quality[:, i : i + 1])
        better = (costs < cost) | (quality < quality[:, i : i + 1])
        dominated[:, i] = (no_worse & better).any(axis=1)
    return ~dominated


def _means(outcomes: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Average over the studies that have an answer."""
    out = {}
    for name, values in outcomes.items():
        there = values[~np.isnan(values.astype(float))]
        out[name] = float(there.mean()) if len(there) else float("nan")
    return out


def _world(
    candidates: int, effects: float | Sequence[float], spread: float | Sequence[float], errors: Any, seed_spread: float
) -> World:
    if isinstance(candidates, bool) or not isinstance(candidates, int) or candidates < 2:
        raise InputError(
            f"a study compares two candidates or more, the baseline among them, not {candidates!r}",
            Argument("candidates"),
        )
    means = np.zeros(candidates)
    if isinstance(effects, int | float):
        means[1] = effects
    else:
        means[:] = _as_many("effects", effects, candidates)
    deviations = (
        np.full(candidates, float(spread))
        if isinstance(spread, int | float)
        else _as_many("spread", spread, candidates)
    )
    if (deviations < 0).any() or seed_spread < 0:
        raise InputError("a deviation is 0 or more", Argument("spread"))
    return World(means, deviations, shape_of(errors), float(seed_spread))


def _as_many(name: str, given: Sequence[float], candidates: int) -> Floats:
    numbers = np.asarray(given, dtype=np.float64)
    if numbers.shape != (candidates,) or not np.isfinite(numbers).all():
        raise InputError(
            f"expected one number or {candidates}, a candidate each with the baseline first, not {given!r}",
            Argument(name),
        )
    return numbers


def _check(alpha: float, studies: int, delta: float | None) -> None:
    if not 0 < alpha < 1:
        raise InputError(f"a level is between 0 and 1, not {alpha!r}", Argument("alpha"))
    if isinstance(studies, bool) or not isinstance(studies, int) or studies < 1:
        raise InputError(f"expected a number of studies, not {studies!r}", Argument("studies"))
    if delta is not None and not delta > 0:
        raise InputError(f"a margin is above 0, not {delta!r}", Argument("delta"))


def _plans(
    seeds: int | Sequence[int], looks: Sequence[int] | None, most_seeds: int | None
) -> list[tuple[list[int], list[float]]]:
    """Return the numbers of seeds at which one looks in each of the simulated kinds of study, and their shares of
    alpha.

    A study that is not to grow has one look, which spends all of alpha.
    """
    if looks is not None:
        numbers = [int(n) for n in looks]
        if not numbers or numbers[0] < 1 or any(b <= a for a, b in itertools.pairwise(numbers)):
            raise InputError(f"expected ascending numbers of seeds, not {looks!r}", Argument("looks"))
        return [(numbers, shares_of_looks(numbers, most_seeds))]
    given = [seeds] if isinstance(seeds, int) else list(seeds)
    if not given or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in given):
        raise InputError(f"expected a number of seeds, or several, not {seeds!r}", Argument("seeds"))
    return [([n], shares_of_looks([n], most_seeds or n)) for n in given]
