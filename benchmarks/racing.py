"""What do adaptive seeds gain, and is their error what they say? By simulation, without any training.

    python benchmarks/racing.py [--csv FILE] [--rounds 300] [--draws 20000] [--most 10]

Seeds of a candidate are drawn around its effect, those of the baseline around 0, so that paired differences have a
deviation of 1. Three parts:

- error: all candidates equal. After each further seed from the third on one looks, up to --most; a study is wrong where
  any verdict is given. `looks` is what `seeding: racing` tests by; `naive` a t-test at each look as if it were the only
  one; `split` that at a level divided by the number of looks; `mixture` the e-process of an anytime-valid t-test
  (a normal prior of the effect, of deviation 1 or 2; Lai 1976, Wang & Ramdas 2025). `last` is a t-test at the
  last look alone. All with Holm's correction. Normal
  differences, and others: of values with outliers (Student's t with 3 degrees of freedom), of lognormal values of one
  shape, of candidates alone that are skewed (exponential), and values rounded to half a deviation.
- power: how often the same tests find an effect, at the level that Holm's first step leaves to one of so many.
- found: half of the candidates differ from the baseline by an effect. Studies are run by `seeding: racing` itself, and
  with the same number of seeds for all candidates, the next whole number above what racing took on average, by the
  permutation test that a study without racing has, and by a t-test. `racing, all` gives up nobody. `racing, front` is
  about the front of quality and cost in place of the baseline: candidates cost more from one to the next; every other
  is better than all before by the effect or twice that, and those between are worse by as much.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import bench
import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from ablate.discovery.catalog import catalog
from ablate.kinds.looks import Looks
from ablate.kinds.seeding import Race, Seeding, rejected
from ablate.results.effects import permutation_p

COLUMNS = ("part", "how", "noise", "candidates", "effect", "studies", "wrong", "found", "seeds")
FIRST, ALPHA = 3, 0.05
HALF = math.sqrt(0.5)  # deviation of one candidate, so that a difference has 1
Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
NOISE: dict[str, tuple[Draw, Draw]] = {  # of candidates, of the baseline
    "normal": (lambda r, s: HALF * r.standard_normal(s),) * 2,
    "outliers": (lambda r, s: HALF / math.sqrt(3) * r.standard_t(3, s),) * 2,
    "lognormal": (lambda r, s: np.exp(r.standard_normal(s)),) * 2,
    "skewed": (lambda r, s: r.exponential(size=s) - 1, lambda r, s: np.zeros(s)),
    "rounded": (lambda r, s: np.round(2 * HALF * r.standard_normal(s)) / 2,) * 2,
}
Test = Callable[[NDArray[np.float64], Looks], NDArray[np.float64]]


def main() -> None:
    options = bench.options(__doc__, rounds=300)
    options.add_argument("--draws", type=int, default=20_000)
    options.add_argument("--most", type=int, default=10)
    given = options.parse_args()
    rows = []
    for row in itertools.chain(errors(given), power(given), studies(given)):
        bench.show(row, COLUMNS)
        rows.append(row)
    bench.keep(rows, COLUMNS, given.csv)


def errors(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The share of studies of equal candidates in which any verdict is given."""
    looks = Looks(FIRST, given.most, ALPHA)
    for noise, (ours, theirs) in NOISE.items():
        for count in (1, 5, 15):
            draws = np.random.default_rng(count)
            shape = (given.draws, count, given.most)
            delta = ours(draws, shape) - theirs(draws, (given.draws, 1, given.most))
            for how, test in TESTS.items():
                wrong = float(
                    np.mean(test(delta, looks).min(axis=1) <= ALPHA / count)
                )  # the first step of Holm's method
                yield _row("error", how, noise, count, 0.0, given.draws, wrong, math.nan, float(given.most))


def at_once(delta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Student's t at each look, (..., n)."""
    n = np.arange(1, delta.shape[-1] + 1)
    sums, squares = delta.cumsum(axis=-1), (delta**2).cumsum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums / np.sqrt(np.maximum(n * squares - sums**2, 0) / np.maximum(n - 1, 1))


def naive(delta: NDArray[np.float64], looks: Looks) -> NDArray[np.float64]:
    """The smallest p of any look."""
    n = np.arange(looks.first, looks.most + 1)
    return np.asarray(2 * stdtr(n - 1, -np.abs(at_once(delta)[..., looks.first - 1 :])).min(axis=-1))


def split(delta: NDArray[np.float64], looks: Looks) -> NDArray[np.float64]:
    """The same, times the number of looks."""
    return naive(delta, looks) * (looks.most - looks.first + 1)


def mixture(delta: NDArray[np.float64], looks: Looks, prior: float = 1.0) -> NDArray[np.float64]:
    """One over the largest e-value of any look; prior: deviation of the effect."""
    n = np.arange(looks.first, looks.most + 1)
    part = np.minimum(at_once(delta)[..., looks.first - 1 :] ** 2, 1e30) / (n - 1)
    shrunk = 1 + n * prior**2
    log_e = -0.5 * np.log(shrunk) + n / 2 * (np.log1p(part) - np.log1p(part / shrunk))
    return np.asarray(np.exp(-log_e.max(axis=-1)))


TESTS: dict[str, Test] = {
    "looks": lambda delta, looks: looks.found(delta).p,
    "naive": naive,
    "split": split,
    "mixture": mixture,
    "mixture 2": partial(mixture, prior=2.0),
    "last": lambda delta, looks: np.asarray(2 * stdtr(looks.most - 1, -np.abs(at_once(delta)[..., -1]))),
}


def power(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The share of candidates with an effect that the first step of Holm's method finds among so many."""
    looks = Looks(FIRST, given.most, ALPHA)
    for effect in (1.0, 1.5, 2.0, 3.0):
        delta = effect + np.random.default_rng(0).standard_normal((given.draws, given.most))
        for count, (how, test) in itertools.product((1, 5, 15), TESTS.items()):
            if how != "naive":
                found = float(np.mean(test(delta, looks) <= ALPHA / count))
                yield _row("power", how, "normal", count, effect, given.draws, math.nan, found, float(given.most))


def studies(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Verdicts and seeds of whole studies."""
    rules = {
        "racing": {"about": "baseline"},
        "racing, all": {"about": "baseline", "futility": None},
        "racing, front": {"about": "front"},
    }
    for how, fields in rules.items():
        rule = catalog().create(Seeding, {"type": "racing", "most": given.most, "alpha": ALPHA, **fields})
        for count in (4, 10):
            for effect in (0.0, 1.0, 1.5, 2.0, 3.0):
                yield from _studies(rule, how, count, effect, given)


def _studies(rule: Seeding, how: str, count: int, effect: float, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    draws = np.random.default_rng(count)
    odd = np.arange(count + 1) % 2 == 1
    means, cost = -effect * odd, np.zeros((count + 1, 0))
    if how == "racing, front":  # each odd one is better than all before, each even one worse than the one before
        means = -effect * np.where(odd, np.arange(count + 1), np.arange(count + 1) - 2)
        cost = np.arange(count + 1.0)[:, None]
    values = [means[:, None] + HALF * draws.standard_normal((count + 1, given.most)) for _ in range(given.rounds)]
    raced = [race(rule, one, cost, given.most) for one in values]
    took = float(np.mean([one.seeds.mean() for one in raced]))
    if how == "racing, front":
        yield _judged(how, [_front(one.on_front[1:], odd[1:], effect) for one in raced], count, effect, took)
        return
    yield _judged(how, [_verdicts(one.verdicts[1:], odd[1:], effect) for one in raced], count, effect, took)
    fixed = min(math.ceil(took), given.most)
    for test in ("permutation", "t") if how == "racing" else ():
        outcomes = [_verdicts(_fixed(one[:, :fixed], test), odd[1:], effect) for one in values]
        yield _judged(f"fixed, {test}", outcomes, count, effect, float(fixed))


def _judged(
    how: str, outcomes: Sequence[tuple[float, float]], count: int, effect: float, seeds: float
) -> dict[str, Any]:
    wrong, found = np.mean(outcomes, axis=0)
    return _row("found", how, "normal", count, effect, len(outcomes), float(wrong), float(found), seeds)


def race(rule: Seeding, values: NDArray[np.float64], cost: NDArray[np.float64], most: int) -> Race:
    """Run a study of these values: ask for seeds until nobody gets one. The baseline is the first row."""
    rows = np.arange(len(values))
    had = np.full(len(values), FIRST)
    looks = Looks(FIRST, most, ALPHA)
    while True:
        seen = np.where(np.arange(most) < had[:, None], values, np.nan)[:, :, None]
        now = Race(looks, rows, seen, cost, 0, rows >= 0, had < most, rows < 0)
        number = rule.next(now)
        if number is None:
            return now
        had[number] += 1


def _fixed(values: NDArray[np.float64], how: str) -> NDArray[np.int64]:
    delta = values[1:] - values[0]
    n = delta.shape[1]
    p = 2 * stdtr(n - 1, -np.abs(at_once(delta)[:, -1])) if how == "t" else np.array([*map(permutation_p, delta)])
    return np.where(rejected(p, ALPHA), np.sign(delta.mean(axis=1)), 0).astype(np.int64)


def _verdicts(verdicts: NDArray[np.int64], better: NDArray[np.bool_], effect: float) -> tuple[float, float]:
    """Whether any verdict is wrong, and the share of what is better that is found."""
    true = np.where(better, -1, 0) if effect else np.zeros(len(better))
    found = float(np.mean(verdicts[better] == -1)) if effect else math.nan
    return float(((verdicts != 0) & (verdicts != true)).any()), found


def _front(shown: NDArray[np.int64], on: NDArray[np.bool_], effect: float) -> tuple[float, float]:
    """Whether any statement on the front is wrong, and the share of candidates of which membership is found.

    Of equal candidates nothing is to be said.
    """
    true = np.where(on, 1, -1) if effect else np.zeros(len(on))
    found = float(np.mean(shown == true)) if effect else math.nan
    return float(((shown != 0) & (shown != true)).any()), found


def _row(part: str, how: str, noise: str, count: int, effect: float, n: int, *numbers: float) -> dict[str, Any]:
    wrong, found, seeds = (f"{number:.3f}" for number in numbers)
    head = {"part": part, "how": how, "noise": noise, "candidates": count, "effect": effect, "studies": n}
    return {**head, "wrong": wrong, "found": found, "seeds": seeds}


if __name__ == "__main__":
    main()
