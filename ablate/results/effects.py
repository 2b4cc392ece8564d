"""Effects: the paired difference of each candidate from the baseline, with confidence interval and p-value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.objectives import Objective
from ablate.results.candidates import CandidateRow, labelled
from ablate.results.looks import Looked, describe_looks
from ablate.results.measurements import values

ALPHA = 0.05
EXACT = 16  # up to here all 2^n sign flips are enumerated
RESAMPLES = 99_999


class Interval(NamedTuple):
    """A confidence interval; both ends NaN where one pair says nothing about the spread."""

    low: float
    high: float


def effects(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[CandidateRow],
    objective: Objective,
    baseline: CandidateRow,
    where: Mapping[str, Any] | None = None,
    looked: Looked | None = None,
) -> pd.DataFrame:
    """Compute each candidate's mean difference from the baseline over the seeds that both completed.

    Columns: candidate, config_hash, `c.*`, mean (over the pairs), baseline_mean, difference
    (candidate − baseline), low and high (95 % intervals that hold for all comparisons at once: Student's t
    with Bonferroni's correction), p (two-sided paired permutation test of the mean: exact up to 16 pairs),
    p_holm (Holm 1979, over the candidates: what is below 0.05 is told from chance, and nothing else is),
    n (pairs), smallest_p (the smallest p that n pairs can give, 2/2ⁿ), diverged (seeds of the
    candidate that diverged: no value, worst of all), note. From the best to the worst; then candidates
    of which a seed diverged, since a comparison over the others is biased; last those without a pair.

    looked: the looks of a study whose seeding added seeds while one looked. Then no test of a fixed number of seeds is
    valid. p and p_holm are of the paired t-test with alpha spending over all looks (`Looks`), low and high are repeated
    confidence intervals of its level, and pairs count from the first seed on, up to the first that is missing.

    `attrs`: alpha (below which p_holm is told from chance), metric, baseline, baseline_diverged, comparisons
    (candidates with a pair), differences ({config_hash: {seed: difference}}), and `note`, which says when the number of
    seeds makes p < 0.05 impossible, what can be done where the baseline has no value, and what p is at looks.
    """
    frame, _ = values(trials, metrics, [objective], where)
    column = objective.column
    valued = frame[(frame["state"] == "complete") & np.isfinite(frame[column].to_numpy(dtype=float))]
    seed_values: dict[str, dict[int, float]] = {}  # {config_hash: {seed: value}}
    for config_hash, seed, value in zip(*(valued[name].tolist() for name in ("config_hash", "seed", column)), strict=True):
        seed_values.setdefault(str(config_hash), {})[int(seed)] = float(value)
    seeds = frame.groupby("config_hash").size().to_dict()
    diverged = (frame["state"] == "diverged").groupby(frame["config_hash"]).sum().to_dict()
    base = seed_values.get(baseline.config_hash, {})
    others = [c for c in candidates if c.config_hash != baseline.config_hash]
    shared = {c.config_hash: sorted(base.keys() & seed_values.get(c.config_hash, {}).keys()) for c in others}
    if looked is not None:
        shared = {
            name: list(itertools.takewhile(set(seeds_).__contains__, looked.seeds)) for name, seeds_ in shared.items()
        }
    tests = sum(len(pairs) > 0 for pairs in shared.values())
    base_lost = (int(diverged.get(baseline.config_hash, 0)), int(seeds.get(baseline.config_hash, 0)))
    rows, differences = [], {}
    for candidate in others:
        name = candidate.config_hash
        ours = np.array([seed_values[name][seed] for seed in shared[name]])
        theirs = np.array([base[seed] for seed in shared[name]])
        delta = ours - theirs
        differences[name] = {str(seed): float(d) for seed, d in zip(shared[name], delta, strict=True)}
        if looked is None:
            (low, high), p = t_interval(delta, 1 - ALPHA / max(tests, 1)), permutation_p(delta)
            least, few = smallest_p(len(delta)), too_few(len(delta), tests) if len(delta) else ""
        else:
            low, high, p = _sequential(delta, looked, tests)
            enough = len(delta) >= looked.looks.first
            least = 0.0 if enough else 1.0
            few = "" if enough or not len(delta) else f"the first look is at {looked.looks.first} pairs"
        n_diverged = int(diverged.get(name, 0))
        rows.append(
            {
                "mean": _mean(ours),
                "baseline_mean": _mean(theirs),
                "difference": _mean(delta),
                "low": low,
                "high": high,
                "p": p,
                "n": len(delta),
                "smallest_p": least if len(delta) else math.nan,
                "diverged": n_diverged,
                "note": _note(len(delta), (n_diverged, int(seeds.get(name, 0))), base_lost, few),
            }
        )
    compared = pd.DataFrame(rows, columns=[*_NUMBERS, "n", "diverged", "note"])
    compared["p_holm"] = holm(compared["p"].to_numpy(dtype=float))
    table = labelled(others).join(compared)
    unpaired, biased = table["n"].to_numpy() == 0, table["diverged"].to_numpy() > 0
    order = np.lexsort([table["difference"].to_numpy(dtype=float) * objective.sign, biased, unpaired])
    table = table.iloc[order].reset_index(drop=True)
    pairs_seen = [int(n) for n in table["n"] if n > 0]
    few = describe_looks(looked) if looked is not None else too_few(max(pairs_seen), tests) if pairs_seen else ""
    table.attrs.update(
        alpha=ALPHA if looked is None else looked.looks.alpha,
        metric=column,
        baseline=baseline.label,
        baseline_diverged=base_lost[0],
        comparisons=tests,
        differences=differences,
        note=few if pairs_seen else _unpaired(base_lost, others, seed_values),
    )
    return table


def _unpaired(
    diverged: tuple[int, int], others: Sequence[CandidateRow], seed_values: Mapping[str, Mapping[int, float]]
) -> str:
    """Say why nothing is compared with the baseline, and what else there is to compare with."""
    if diverged[0] < diverged[1] or not diverged[0]:
        return "no seed was completed by a candidate and the baseline"
    message = "every seed of the baseline diverged, so nothing can be compared with it"
    measured = [c for c in others if c.config_hash in seed_values]
    if len(measured) < 2:
        return message
    most = max(measured, key=lambda c: len(seed_values[c.config_hash]))  # of equals the first in the study's own order
    return f'{message}; take another to compare with: load(DIR).effects(baseline="{most.label}")'


_NUMBERS = ("mean", "baseline_mean", "difference", "low", "high", "p", "p_holm", "smallest_p")


def t_interval(delta: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Return Student's t interval of the mean of (n,) differences."""
    if len(delta) < 2:
        return Interval(math.nan, math.nan)
    from scipy.special import stdtrit  # scipy.stats has it too, and takes a second to import

    half = float(stdtrit(len(delta) - 1, (1 + confidence) / 2)) * float(delta.std(ddof=1)) / math.sqrt(len(delta))
    return Interval(float(delta.mean()) - half, float(delta.mean()) + half)


def permutation_p(delta: NDArray[np.float64]) -> float:
    """Return the two-sided p of a paired permutation test (random sign flips) of the mean of (n,) differences.

    The share of the 2ⁿ sign flips whose mean is at least as far from 0 as the observed one (Fisher's
    randomisation test); beyond 16 pairs a sample of them, with the same seed each time.
    """
    if len(delta) < 2:
        return 1.0 if len(delta) else math.nan  # of one difference both signs are as far from 0
    if len(delta) > EXACT:
        from scipy import stats

        drawn = stats.permutation_test(
            (delta,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(0)
        )
        return float(drawn.pvalue)
    sums = delta[:1]  # every flip has an opposite that is as far from 0: the first sign may stay as it is
    for one in delta[1:]:
        sums = np.concatenate([sums + one, sums - one])
    sums = np.abs(sums)  # (2ⁿ⁻¹,)
    observed = abs(float(delta.sum()))
    return float(np.mean(sums >= observed - 1e-9 * float(np.abs(delta).sum())))  # equal but for rounding counts


def _mean(values: NDArray[np.float64]) -> float:
    if len(values) == 1:  # as of each of thousands of candidates with one seed
        return float(values[0])
    return float(values.sum()) / len(values) if len(values) else math.nan


def smallest_p(n: int) -> float:
    """Return the smallest two-sided p that n pairs can give: only the observed signs and their opposite are as far."""
    return 2.0 ** (1 - n) if n else math.nan


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct (n,) p-values for multiple comparisons by Holm's step-down method (1979); NaN stays NaN."""
    corrected = np.full(len(p), math.nan)
    exists = np.isfinite(p)
    order = np.argsort(p[exists], kind="stable")
    steps = np.maximum.accumulate(p[exists][order] * np.arange(len(order), 0, -1))
    ranked = np.empty(len(order))
    ranked[order] = np.minimum(steps, 1.0)
    corrected[exists] = ranked
    return corrected


@cache
def pairs_needed(tests: int, alpha: float = ALPHA) -> int:
    """Return how many pairs it takes until `tests` Holm-corrected comparisons can fall below `alpha`."""
    return next(n for n in range(1, 64) if max(tests, 1) * smallest_p(n) < alpha)


def too_few(n: int, tests: int, alpha: float = ALPHA) -> str:
    """Return a sentence where n pairs cannot give p < alpha, whatever was measured; otherwise ''."""
    least = smallest_p(n)
    message = f"with {n} pair{'s' if n > 1 else ''} the smallest two-sided p is {least:.3g}"
    if max(tests, 1) * least < alpha:
        return ""
    if least < alpha:
        message += f", corrected for {tests} comparisons {min(1.0, tests * least):.3g}"
    return f"{message}: p < {alpha:g} is impossible, it takes {pairs_needed(tests, alpha)} seeds"


def _sequential(delta: NDArray[np.float64], looked: Looked, tests: int) -> tuple[float, float, float]:
    """Return the interval of the mean of (n,) differences, and its p, that hold however often one looked."""
    if not len(delta):
        return math.nan, math.nan, math.nan
    half = looked.looks.half_width(delta, looked.looks.alpha / max(tests, 1))
    return float(delta.mean()) - half, float(delta.mean()) + half, float(looked.looks.found(delta).p)


def _note(n: int, candidate: tuple[int, int], baseline: tuple[int, int], few: str) -> str:
    """Write what limits one comparison. `candidate`, `baseline`: how many seeds diverged, of how many."""
    parts = []
    for (diverged, seeds), owner, favoured in (
        (candidate, "", "its"),
        (baseline, " of the baseline", "the baseline's"),
    ):
        if diverged:
            biased = f": compared over the others, which is biased in {favoured} favour" if n else ""
            parts.append(f"{diverged} diverged of {seeds} seed{'s' if seeds > 1 else ''}{owner}{biased}")
    parts.append(few if n else "no pair with the baseline")
    return "; ".join(p for p in parts if p)
