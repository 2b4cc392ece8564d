"""Effects: each candidate compared with the baseline by the study's declared test, with intervals and p-values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.objectives import Objective
from ablate.results.candidates import CandidateRow, labelled
from ablate.results.declared import Declared, Undeclared
from ablate.results.effect_notes import RANKS, Lost, note_of, test_words, too_few, unpaired
from ablate.results.looks import Looked, describe_looks
from ablate.results.outcomes import Outcomes, outcomes_of
from ablate.statistics.answers import Answers, answers
from ablate.statistics.correction import holm

ALPHA = 0.05
ANSWERS = {-1: "better", 0: "open", 1: "worse"}


def effects(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[CandidateRow],
    objective: Objective,
    baseline: CandidateRow,
    where: Mapping[str, Any] | None = None,
    looked: Looked | None = None,
    declared: Declared | None = None,
) -> pd.DataFrame:
    """Compare each candidate with the baseline over its seeds, by the test that the study declared.

    Columns: candidate, config_hash, `c.*`, mean and baseline_mean (over the seeds that both completed), difference
    (candidate − baseline, as the test estimates it), low and high (its 95 % interval, for all comparisons at once:
    Bonferroni; intervals before points, as Agarwal et al. 2021), p (two-sided, of the comparison by itself), p_holm
    (p corrected for all comparisons, Holm 1979, and for looks at fewer seeds: what is below alpha is told from
    chance, and nothing else is), answer (better, worse, equivalent or open), n (pairs of seeds that both completed),
    smallest_p (the smallest p that n pairs can give), diverged, note. Where the analysis declares a margin delta,
    p_equivalent: the corrected p of two one-sided tests that the difference is beyond ±delta. On the log scale means
    are geometric, and ratio, ratio_low and ratio_high take the place of low and high, which are missing.

    A candidate with a seed that diverged, and each where one of the baseline did, is compared by ranks, the diverged
    runs last: p is that of the signed ranks (Wilcoxon 1945) over all seeds with an outcome, and difference describes
    the others alone. From the best to the worst; then candidates of which a seed diverged; last those without a pair.

    looked: the looks of a study whose seeding added seeds while one looked. Then no test of a fixed number of seeds is
    valid. p and p_holm are of the paired t-test with alpha spending over all looks (`Looks`), low and high are repeated
    confidence intervals of its level, and pairs count from the first seed on, up to the first that is missing.

    `attrs`: alpha, metric, baseline, baseline_diverged, comparisons (candidates with a pair), differences
    ({config_hash: {seed: difference}}; ratios on the log scale), test (in words), declared (whether it is the study's
    own), scale, delta, looks (numbers of seeds), assumptions (sentences), and `note`: what to know of all p-values.

    Raises InputError on the log scale where a value is not above 0.
    """
    plan = declared or Declared(Undeclared(), is_own=False)
    others = [c for c in candidates if c.config_hash != baseline.config_hash]
    found = outcomes_of(trials, metrics, [baseline, *others], objective, plan.scale, where)
    pairs = np.array([[i, 0] for i in range(1, len(others) + 1)], dtype=np.int64).reshape(-1, 2)
    judged = _sequential(found, pairs, looked, plan) if looked is not None else _judged(found, pairs, plan)
    shared = found.shared(pairs, None if looked is None else list(looked.seeds))  # (m, n)
    n = shared.sum(axis=1)
    lost = [Lost(int(d), int(s)) for d, s in zip(found.diverged.sum(axis=1), found.seeds_of, strict=True)]
    tests = int(np.isfinite(judged.p).sum())
    alpha = plan.alpha if looked is None else looked.looks.alpha
    ranked = np.array([bool(lost[0].diverged or one.diverged) for one in lost[1:]], dtype=bool)
    table = labelled(others).join(_numbers(found, judged, pairs, shared, ranked, objective, plan, alpha))
    ended = (found.there | found.diverged)[pairs].all(axis=1).sum(axis=1)
    enough = found.most_shared() if plan.test.borrows else 0  # seeds of others, which tell how far values scatter
    deep = np.where(n > 0, np.maximum(n, enough), 0) if looked is None else n

    @cache  # of thousands of candidates nearly all have the same seeds
    def limits(pairs: int, one: Lost, ended: int, ranked: bool) -> tuple[float, str]:
        least = _smallest(plan, looked, pairs, ended if ranked else 0)
        return least, note_of(pairs, one, lost[0], plan, looked, tests, alpha, ended)

    least = [limits(*row) for row in zip(deep.tolist(), lost[1:], ended.tolist(), ranked.tolist(), strict=True)]
    table["smallest_p"] = np.array([p for p, _ in least], dtype=float)
    table["diverged"] = [one.diverged for one in lost[1:]]
    table["note"] = [note for _, note in least]
    order = np.lexsort([table["difference"].to_numpy(dtype=float) * objective.sign, table["diverged"] > 0, n == 0])
    table = table[[*table.columns[: table.columns.get_loc("mean")], *_columns(plan)]].iloc[order].reset_index(drop=True)
    measured = {
        c.config_hash: count for c, count in zip([baseline, *others], found.there.sum(axis=1).tolist(), strict=True)
    }
    most = int(deep.max(initial=0))
    table.attrs.update(
        alpha=alpha,
        metric=objective.column,
        baseline=baseline.label,
        baseline_diverged=lost[0].diverged,
        comparisons=tests,
        differences=found.differences([c.config_hash for c in others], pairs, shared),
        test="paired t-test with alpha spending" if looked is not None else plan.test.called,
        declared=plan.is_own,
        scale=plan.scale,
        delta=plan.delta,
        looks=[len(look) for look in plan.looks] if looked is None else [],
        assumptions=[] if looked is not None else test_words(found, [baseline, *others], ranked, plan),
        note=(describe_looks(looked) if looked is not None else too_few(plan.test, most, tests, alpha, plan.shares[-1]))
        if most
        else unpaired(lost[0], others, measured),
    )
    return table


def _judged(found: Outcomes, pairs: NDArray[np.int64], plan: Declared) -> Answers:
    delta = None if plan.delta is None else math.log1p(plan.delta) if plan.scale == "log" else plan.delta
    return answers(plan.test, found.values[None], pairs, plan.alpha, delta, plan.looks_at(found.seeds), found.ranked)


def _sequential(found: Outcomes, pairs: NDArray[np.int64], looked: Looked | None, plan: Declared) -> Answers:
    """Return intervals and p that hold however often one looked, (1, m)."""
    assert looked is not None
    columns = [found.seeds.index(seed) if seed in found.seeds else -1 for seed in looked.seeds]
    numbers = np.where(np.isfinite(found.values), found.values, np.nan)
    aligned = np.full((len(numbers), len(columns)), np.nan)
    there = [i for i, column in enumerate(columns) if column >= 0]
    aligned[:, there] = numbers[:, [columns[i] for i in there]]
    delta = aligned[pairs[:, 0]] - aligned[pairs[:, 1]]
    counts = np.logical_and.accumulate(np.isfinite(delta), axis=1).sum(axis=1)
    tests = max(int((counts > 0).sum()), 1)
    tested = looked.looks.found(delta)
    mean = np.array([d[:c].mean() if c else np.nan for d, c in zip(delta, counts, strict=True)])
    half = np.array(
        [looked.looks.half_width(d[:c], looked.looks.alpha / tests) for d, c in zip(delta, counts, strict=True)]
    )
    p = np.where(counts > 0, tested.p, np.nan)
    within = np.full(p.shape, np.nan)
    if plan.delta is not None:  # the repeated interval lies within the margin, or it does not
        inside = (mean - half > -plan.delta) & (mean + half < plan.delta)
        within = np.where(np.isfinite(half), np.where(inside, 0.0, 1.0), np.nan)
    ends = (mean - half)[None], (mean + half)[None]
    return Answers(mean[None], half[None], *ends, p[None], holm(p)[None], within[None], tested.sign[None])


def _numbers(
    found: Outcomes,
    judged: Answers,
    pairs: NDArray[np.int64],
    shared: NDArray[np.bool_],
    ranked: NDArray[np.bool_],
    objective: Objective,
    plan: Declared,
    alpha: float,
) -> pd.DataFrame:
    """Return the columns of numbers: back in the metric's own direction and scale."""
    means = found.paired_means(pairs, shared)
    difference, low, high = judged.difference[0], judged.low[0], judged.high[0]
    if objective.sign < 0:  # what is maximised was compared by its negative
        difference, low, high = -difference, -high, -low
    sign = np.where(judged.corrected[0] < alpha, judged.sign[0], 0)
    answer = np.array([ANSWERS[int(s)] for s in sign], dtype=object)
    answer[(sign == 0) & (judged.equivalent[0] < alpha)] = "equivalent"
    columns: dict[str, Any] = {"mean": means[:, 0], "baseline_mean": means[:, 1]}
    plain = plan.scale == "plain"
    columns["difference"] = np.where(ranked | (not plain), means[:, 0] - means[:, 1], difference)
    columns["low"], columns["high"] = (low, high) if plain else (low * np.nan, high * np.nan)
    if not plain:
        columns |= {"ratio": np.exp(difference), "ratio_low": np.exp(low), "ratio_high": np.exp(high)}
    columns |= {"p": judged.p[0], "p_holm": judged.corrected[0], "p_equivalent": judged.equivalent[0], "answer": answer}
    return pd.DataFrame({**columns, "n": shared.sum(axis=1)})


def _columns(plan: Declared) -> list[str]:
    ratio = ["ratio", "ratio_low", "ratio_high"] if plan.scale == "log" else []
    equivalent = [] if plan.delta is None else ["p_equivalent"]
    return [
        *("mean", "baseline_mean", "difference", "low", "high", *ratio, "p", "p_holm", *equivalent, "answer"),
        *("n", "smallest_p", "diverged", "note"),
    ]


def _smallest(plan: Declared, looked: Looked | None, n: int, ranks: int) -> float:
    """Return the smallest p of n pairs, of which so many are compared by ranks if any; NaN without a pair."""
    if looked is not None:
        return math.nan if not n else 0.0 if n >= looked.looks.first else 1.0
    if ranks:
        return RANKS.smallest_p(ranks)
    return plan.test.smallest_p(n) if n else math.nan
