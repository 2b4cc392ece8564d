"""Effects: each candidate against the baseline, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.results.candidates import Candidate
from ablate.results.objectives import Objective, values

ALPHA = 0.05
EXACT = 12  # up to here all 2^n sign flips are enumerated
RESAMPLES = 99_999


class Interval(NamedTuple):
    """A confidence interval; both ends NaN where one pair says nothing about the spread."""

    low: float
    high: float


def effects(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[Candidate],
    objective: Objective,
    baseline: Candidate,
    where: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Each candidate's mean difference from the baseline over the seeds that both completed.

    Columns: candidate, config_hash, `c.*`, mean (over the pairs), baseline_mean, difference
    (candidate − baseline), low and high (95 % t interval of the difference), p (two-sided paired
    permutation test of the mean: exact up to 12 pairs), p_holm (Holm 1979, over the candidates),
    n (pairs), smallest_p (the smallest p that n pairs can give, 2/2ⁿ), diverged (seeds of the
    candidate that diverged: no value, worst of all), note. From the best to the worst; candidates
    without a pair come last.

    `attrs`: metric, baseline, baseline_diverged, differences ({config_hash: {seed: difference}}),
    and `note`, which says when the number of seeds makes p < 0.05 impossible.
    """
    frame, _ = values(trials, metrics, [objective], where)
    column = objective.column
    base = frame[frame["config_hash"] == baseline.config_hash]
    others = [c for c in candidates if c.config_hash != baseline.config_hash]
    rows, differences = [], {}
    for candidate in others:
        of = frame[frame["config_hash"] == candidate.config_hash]
        pairs = _pairs(of, base, column)
        delta = (pairs[f"{column}.x"] - pairs[f"{column}.y"]).to_numpy(dtype=float)
        differences[candidate.config_hash] = {str(s): float(d) for s, d in zip(pairs["seed"], delta, strict=True)}
        low, high = t_interval(delta)
        rows.append(
            {
                "candidate": candidate.label,
                "config_hash": candidate.config_hash,
                **{f"c.{path}": label for path, label in candidate.choices.items()},
                "mean": pairs[f"{column}.x"].mean(),
                "baseline_mean": pairs[f"{column}.y"].mean(),
                "difference": delta.mean() if len(delta) else math.nan,
                "low": low,
                "high": high,
                "p": permutation_p(delta),
                "n": len(delta),
                "smallest_p": smallest_p(len(delta)),
                "diverged": int((of["state"] == "diverged").sum()),
            }
        )
    table = pd.DataFrame(rows, columns=None if rows else ["candidate", "config_hash", *_NUMBERS, "n", "diverged"])
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    tests = int(table["p"].notna().sum())
    table["note"] = [_note(int(row["n"]), int(row["diverged"]), tests) for _, row in table.iterrows()]
    front = [c for c in table.columns if c not in (*_NUMBERS, "n", "diverged", "note")]
    table = table[[*front, *_NUMBERS, "n", "diverged", "note"]]
    order = np.lexsort([table["difference"].to_numpy(dtype=float) * objective.sign, table["n"].to_numpy() == 0])
    table = table.iloc[order].reset_index(drop=True)
    pairs_seen = [int(n) for n in table["n"] if n > 0]
    table.attrs.update(
        metric=column,
        baseline=baseline.label,
        baseline_diverged=int((base["state"] == "diverged").sum()),
        differences=differences,
        note=too_few(max(pairs_seen), tests) if pairs_seen else "no seed was completed by a candidate and the baseline",
    )
    return table


_NUMBERS = ("mean", "baseline_mean", "difference", "low", "high", "p", "p_holm", "smallest_p")


def t_interval(delta: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of (n,) differences."""
    from scipy import stats

    if len(delta) < 2:
        return Interval(math.nan, math.nan)
    half = float(stats.t.ppf((1 + confidence) / 2, len(delta) - 1)) * float(delta.std(ddof=1)) / math.sqrt(len(delta))
    return Interval(float(delta.mean()) - half, float(delta.mean()) + half)


def permutation_p(delta: NDArray[np.float64]) -> float:
    """Two-sided p of the mean of (n,) paired differences, if every sign were as likely as its opposite.

    The share of the 2ⁿ sign flips whose mean is at least as far from 0 as the observed one (Fisher's
    randomisation test); beyond 12 pairs a sample of them, with the same seed each time.
    """
    if len(delta) == 0:
        return math.nan
    if len(delta) > EXACT:
        from scipy import stats

        drawn = stats.permutation_test(
            (delta,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(0)
        )
        return float(drawn.pvalue)
    flips = (np.arange(2 ** len(delta))[:, None] >> np.arange(len(delta)) & 1) * 2 - 1  # (2ⁿ, n)
    sums = np.abs(flips @ delta)
    observed = abs(float(delta.sum()))
    return float(np.mean(sums >= observed - 1e-9 * float(np.abs(delta).sum())))  # equal but for rounding counts


def smallest_p(n: int) -> float:
    """The smallest two-sided p that n pairs can give: only the observed signs and their opposite are as far."""
    return 2.0 ** (1 - n) if n else math.nan


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down correction over the p-values that exist; NaN stays NaN."""
    corrected = np.full(len(p), math.nan)
    exists = np.isfinite(p)
    if exists.any():
        from statsmodels.stats.multitest import multipletests

        corrected[exists] = multipletests(p[exists], method="holm")[1]
    return corrected


def pairs_needed(tests: int, alpha: float = ALPHA) -> int:
    """How many pairs it takes until `tests` Holm-corrected comparisons can fall below `alpha`."""
    return next(n for n in range(1, 64) if max(tests, 1) * smallest_p(n) < alpha)


def too_few(n: int, tests: int, alpha: float = ALPHA) -> str:
    """A sentence where n pairs cannot give p < alpha, whatever was measured; otherwise ''."""
    least, told = smallest_p(n), f"with {n} pair{'s' if n > 1 else ''} the smallest two-sided p is {smallest_p(n):.3g}"
    if max(tests, 1) * least < alpha:
        return ""
    if least < alpha:
        told += f", corrected for {tests} comparisons {min(1.0, tests * least):.3g}"
    return f"{told}: p < {alpha:g} is impossible, it takes {pairs_needed(tests, alpha)} seeds"


def _note(n: int, diverged: int, tests: int) -> str:
    parts = [f"{diverged} diverged"] if diverged else []
    parts.append(too_few(n, tests) if n else "no pair with the baseline")
    return "; ".join(p for p in parts if p)


def _pairs(of: pd.DataFrame, base: pd.DataFrame, column: str) -> pd.DataFrame:
    """The seeds that both completed with a finite value, in order."""
    kept = [f[(f["state"] == "complete") & np.isfinite(f[column].astype(float))][["seed", column]] for f in (of, base)]
    return kept[0].merge(kept[1], on="seed", suffixes=(".x", ".y")).sort_values("seed")
