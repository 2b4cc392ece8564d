"""All pairs of candidates compared by the study's declared test: for studies without a baseline, or among equals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ablate.candidates.objectives import Objective
from ablate.errors import Argument, InputError
from ablate.results.candidates import CandidateRow
from ablate.results.declared import Declared
from ablate.results.effect_notes import test_words, too_few
from ablate.results.effects import ANSWERS
from ablate.results.outcomes import outcomes_of
from ablate.statistics.answers import answers

MOST = 200  # candidates: 19,900 pairs


def all_pairs(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[CandidateRow],
    objective: Objective,
    declared: Declared,
    where: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Compare every two candidates over their seeds, by the test that the study declared (as Demšar 2006 asks for).

    Columns: candidate, other, config_hash, other_hash, difference (candidate − other), low and high (95 % intervals
    for all pairs at once: Bonferroni), p, p_holm (corrected for all pairs by Holm's method, and for looks; below
    alpha it is told from chance), answer (better, worse, equivalent or open), n (seeds that both completed), diverged
    (runs of the two). On the log scale ratio, ratio_low and ratio_high. Holm's method, as it holds where candidates'
    spreads differ: Tukey's studentized range assumes one spread, and then names a difference in up to 7 % of studies
    of equals (decision 44). `attrs`: alpha, metric, comparisons, test, declared, assumptions, note.

    Raises InputError for more than 200 candidates, and on the log scale where a value is not above 0.
    """
    if len(candidates) > MOST:
        raise InputError(
            f"{len(candidates)} candidates are {len(candidates) * (len(candidates) - 1) // 2:,} pairs, too "
            f"many to be read; name up to {MOST} of them",
            Argument("candidates"),
        )
    found = outcomes_of(trials, metrics, candidates, objective, declared.scale, where)
    chosen = list(itertools.combinations(candidates, 2))
    pairs = np.column_stack(np.triu_indices(len(candidates), 1)).astype(np.int64)
    delta = declared.delta
    if delta is not None and declared.scale == "log":
        delta = math.log1p(delta)
    ranked = found.ranked
    judged = answers(
        declared.test, found.values[None], pairs, declared.alpha, delta, declared.looks_at(found.seeds), ranked
    )
    n = found.shared(pairs).sum(axis=1)
    turned = objective.sign  # what is maximised was compared by its negative
    low, high = turned * judged.low[0], turned * judged.high[0]
    low, high = np.fmin(low, high), np.fmax(low, high)
    sign = np.where(judged.corrected[0] < declared.alpha, judged.sign[0], 0)
    answer = np.array([ANSWERS[int(s)] for s in sign], dtype=object)
    answer[(sign == 0) & (judged.equivalent[0] < declared.alpha)] = "equivalent"
    difference = turned * judged.difference[0]
    numbers = {"difference": difference, "low": low, "high": high}
    if declared.scale == "log":
        numbers = {"ratio": np.exp(difference), "ratio_low": np.exp(low), "ratio_high": np.exp(high)}
    table = pd.DataFrame(
        {
            "candidate": [one.label for one, _ in chosen],
            "other": [other.label for _, other in chosen],
            "config_hash": [one.config_hash for one, _ in chosen],
            "other_hash": [other.config_hash for _, other in chosen],
            **numbers,
            "p": judged.p[0],
            "p_holm": judged.corrected[0],
            **({} if delta is None else {"p_equivalent": judged.equivalent[0]}),
            "answer": answer,
            "n": n,
            "diverged": found.diverged[pairs].sum(axis=(1, 2)),
        }
    )
    tests = int(np.isfinite(judged.p).sum())
    table.attrs.update(
        alpha=declared.alpha,
        metric=objective.column,
        comparisons=tests,
        test=declared.test.called,
        declared=declared.is_own,
        assumptions=test_words(found, candidates, ranked, declared),
        note=too_few(declared.test, int(n.max()), tests, declared.alpha, declared.shares[-1])
        if n.any()
        else "no two share a seed",
    )
    return table
