"""What is said beside effects: what limits a comparison, what p-values allow for, and what was assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablate.kinds.analysis import Analysis
from ablate.results.candidates import CandidateRow
from ablate.results.declared import Declared, Undeclared
from ablate.results.looks import Looked
from ablate.results.outcomes import Outcomes
from ablate.statistics.rates import clopper_pearson

RANKS = Undeclared()  # signed ranks too are judged by their sign flips
MOST_SEEDS = 64  # up to which it is told how many it takes


class Lost(NamedTuple):
    """How many runs of a candidate diverged, of how many."""

    diverged: int
    seeds: int


def note_of(
    n: int, candidate: Lost, baseline: Lost, plan: Declared, looked: Looked | None, tests: int, alpha: float, ended: int
) -> str:
    """Write what limits one comparison over n pairs of completed runs. ended: pairs of which none failed or is open."""
    parts = []
    for lost, owner, favoured in ((candidate, "", "its"), (baseline, " of the baseline", "the baseline's")):
        if lost.diverged:
            by = "compared by ranks, diverged runs last"
            if looked is not None:  # a test at looks counts pairs up to the first that is missing
                by = f"compared over the others, which is biased in {favoured} favour" if n else ""
            parts.append(f"{rate_words(lost)}{owner}{f': {by}' if by else ''}")
    by_ranks = looked is None and ended and (candidate.diverged or baseline.diverged)
    if by_ranks:
        parts.append(too_few(RANKS, ended, tests, alpha, plan.shares[-1]))
    elif not n:
        parts.append("no pair with the baseline")
    elif looked is not None:
        parts.append("" if n >= looked.looks.first else f"the first look is at {looked.looks.first} pairs")
    else:
        parts.append(too_few(plan.test, n, tests, alpha, plan.shares[-1]))
    return "; ".join(part for part in parts if part)


def rate_words(lost: Lost) -> str:
    """Write how many runs diverged, with the interval of the rate."""
    low, high = clopper_pearson(lost.diverged, lost.seeds)
    return (
        f"{lost.diverged} diverged of {lost.seeds} seed{'s' if lost.seeds > 1 else ''} "
        f"(a rate of {100 * low:.0f} to {100 * high:.0f} %)"
    )


def test_words(
    found: Outcomes, candidates: Sequence[CandidateRow], ranked: NDArray[np.bool_], plan: Declared
) -> list[str]:
    """Return sentences on what the test assumes of these candidates, of which the first is the baseline."""
    numeric = ~found.ranked & np.asarray(found.there.any(axis=1))
    values = np.where(np.isfinite(found.values), found.values, np.nan)[numeric]
    names = [c.label for c, kept in zip(candidates, numeric, strict=True) if kept]
    said = list(plan.test.assumptions(values, names)) if len(names) > 1 else []
    if ranked.any():
        said.append("comparisons of which a run diverged are answered by signed ranks, diverged runs last")
    if len(plan.looks) > 1:
        numbers = ", ".join(str(len(look)) for look in plan.looks[:-1])
        said.append(f"one looked at {numbers} and {len(plan.looks[-1])} seeds, and p (Holm) and intervals allow for it")
    if plan.looks and plan.shares[-1] < 1 and len(plan.looks) == 1 and values.shape[1] > 1:
        kept = f"{100 * (1 - plan.shares[0]):.0f} %"
        said.append(
            f"{kept} of alpha is kept for a look at more seeds, so p (Holm) is {1 / plan.shares[0]:.3g} times Holm's"
        )
    return said + ([plan.remark] if plan.remark else [])


def too_few(test: Analysis, n: int, tests: int, alpha: float = 0.05, share: float = 1.0) -> str:
    """Return a sentence where n pairs cannot give p < alpha, whatever was measured; otherwise ''."""
    least, tests = test.smallest_p(n), max(tests, 1)
    if tests * least < alpha * share:
        return ""
    message = f"with {n} pair{'s' if n > 1 else ''} the smallest two-sided p is {least:.3g}"
    if least < alpha:
        message += f", corrected for {tests} comparisons {min(1.0, tests * least / share):.3g}"
    needed = pairs_needed(test, tests, alpha, share)
    takes = "" if needed is None else f", it takes {needed} seeds"
    return f"{message}: p < {alpha:g} is impossible{takes}"


@cache
def pairs_needed(test: Analysis, tests: int, alpha: float = 0.05, share: float = 1.0) -> int | None:
    """Return how many pairs it takes until one of `tests` corrected comparisons can fall below alpha; None: never."""
    return next((n for n in range(1, MOST_SEEDS) if max(tests, 1) * test.smallest_p(n) < alpha * share), None)


def unpaired(baseline: Lost, others: Sequence[CandidateRow], measured: Mapping[str, int]) -> str:
    """Say why nothing is compared with the baseline, and what else there is. measured: {config_hash: values}."""
    if baseline.diverged < baseline.seeds or not baseline.diverged:
        return "no seed was completed by a candidate and the baseline"
    message = "every seed of the baseline diverged, so no values can be compared with it"
    there = [c for c in others if measured.get(c.config_hash)]
    if len(there) < 2:
        return message
    most = max(there, key=lambda c: measured[c.config_hash])  # of equals the first in the study's own order
    return f'{message}; take another to compare with: load(DIR).effects(baseline="{most.label}")'
