"""How much each choice of a search matters: PED-ANOVA over a conditional space, with its interval and chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.names import Choices, show
from ablate.errors import InputError
from ablate.results.searches.densities import Labels, Range, measure
from ablate.results.searches.marginals import is_number
from ablate.results.searches.ranked import ranked

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

Array = NDArray[np.float64]
FEWEST = 16  # candidates: a quarter of fewer is chance
TOP = 0.25  # the best of the candidates, which are told apart from all
RESAMPLES = 100
NUMBERS, WIDE = 8, 30.0  # different numbers of a path, and their ratio, beyond which they are a (logarithmic) range
BUDGET = 50_000  # resamples times candidates


def importance(results: StudyAnalysis, of: str | None, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Compute how much each choice matters: `StudyFindings.importance`."""
    return results.once(("importance", of, resamples), lambda: _importance(results, of, resamples))


def _importance(results: StudyAnalysis, of: str | None, resamples: int) -> pd.DataFrame:
    ranks, label = ranked(results, of)
    candidates = [c for c in results.candidates if c.config_hash in ranks]
    goodness = np.array([ranks[c.config_hash] for c in candidates])
    table = ped_anova([c.choices for c in candidates], goodness, results.lock.get("ranges"), resamples)
    table.attrs["of"] = label
    return table


def ped_anova(
    choices: Sequence[Choices], goodness: Array, ranges: Any = None, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Compute how much each path of the candidates' choices matters for a small goodness (k,).

    ranges: {path: {low, high, log, step}} of those that are none of labels. See `StudyFindings.importance` for the
    columns. Raises InputError for fewer than 16 candidates, and where no choice differs.
    """
    if len(choices) < FEWEST:
        message = f"the importance of choices takes {FEWEST} candidates that have ended; there are {len(choices)}"
        raise InputError(message)
    space = _space(choices, ranges if isinstance(ranges, Mapping) else {})
    if not space:
        raise InputError("no choice differs between the candidates that have ended, so none can matter")
    count = max(min(resamples, BUDGET // len(choices)), 20)
    rng = np.random.default_rng(0)
    halves = [_half(goodness, rng) for _ in range(count)]
    chance = [rng.permutation(goodness) for _ in range(count)]
    found, *samples = _shares(choices, space, np.array([goodness, *halves, *chance]))
    by_half, by_chance = np.array(samples[:count]), np.array(samples[count:])
    low, high = np.quantile(by_half, [0.025, 0.975], axis=0)
    table = pd.DataFrame(
        {
            "path": list(space),
            "importance": found,
            "low": np.minimum(low, found),
            "high": np.maximum(high, found),
            "p": (1 + (by_chance >= found).sum(axis=0)) / (1 + count),
            "by_chance": by_chance.mean(axis=0),
            "choices": [float(one.cells) if isinstance(one, Labels) else math.nan for one in space.values()],
            "n": [sum(path in one for one in choices) for path in space],
        }
    )
    table = table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
    table.attrs.update(candidates=len(choices), top=math.ceil(TOP * len(choices)))
    return table


def _space(choices: Sequence[Choices], ranges: Mapping[str, Any]) -> dict[str, Labels | Range]:
    """Return what each path that differs is counted by: a range of numbers, or its labels."""
    space: dict[str, Labels | Range] = {}
    for path in dict.fromkeys(path for one in choices for path in one):
        own = [one[path] for one in choices if path in one]
        labels = sorted({show(label) for label in own})
        if len(labels) > 1:
            limits = (ranges.get(path) or _seen(own)) if all(map(is_number, own)) else None
            space[path] = Labels(tuple(labels)) if limits is None else Range.of(limits)
    return space


def _seen(numbers: Sequence[Any]) -> dict[str, Any] | None:
    """Return the range of numbers, where they are many, in a folder that does not say it; else None."""
    if len(set(numbers)) <= NUMBERS:
        return None
    low, high = float(min(numbers)), float(max(numbers))
    return {"low": low, "high": high, "log": low > 0 and high / low > WIDE, "step": None}


def _shares(choices: Sequence[Choices], space: Mapping[str, Labels | Range], goodness: Array) -> Array:
    """Return each path's share of the importance (R, paths) for goodness (R, k): smaller is better, NaN: left out."""
    of = np.isfinite(goodness)
    least = np.ceil(TOP * of.sum(axis=1)).astype(int) - 1
    ordered = np.sort(np.where(of, goodness, np.inf), axis=1)
    chosen = of & (goodness <= np.take_along_axis(ordered, least[:, None], axis=1))
    found = np.empty((len(goodness), len(space)))
    for i, (path, cells_of) in enumerate(space.items()):
        has = np.array([path in one for one in choices])
        own: list[Any] = [one[path] for one in choices if path in one]
        cells = np.full(len(choices), -1)
        if isinstance(cells_of, Labels):
            own = [show(label) for label in own]
        cells[has] = cells_of.place(own)
        found[:, i] = measure(cells_of, cells, chosen, of)
    total = found.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(found, total, out=np.zeros_like(found), where=total > 0))


def _half(goodness: Array, rng: np.random.Generator) -> Array:
    """Leave a random half of the candidates out (delete-half jackknife, which varies as the whole does)."""
    out = goodness.copy()
    out[rng.permutation(len(out))[: len(out) // 2]] = np.nan
    return out
