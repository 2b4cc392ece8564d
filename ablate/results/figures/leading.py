"""Choose the candidates that a figure names and colours: of many the baseline, the front, and the next best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ablate.errors import InputError

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

T = TypeVar("T")
MOST = 24  # candidates that are named; the others are grey, or left out
NAME = 56  # signs of a name in a figure at the most
GREY = "#bdbdbd"
OTHERS, SOME = 200, 100  # grey lines at the most; of more so many: all were a grey area, and long to read


def leading(results: StudyAnalysis, most: int = MOST) -> list[CandidateRow]:
    """Return at most `most` candidates, in the study's order.

    All where there are no more; else the baseline, those on the front of the study's objectives, then the best in
    its quality.
    """
    candidates = list(results.candidates)
    if len(candidates) <= most:
        return candidates
    ranks = _ranks(results)
    candidates.sort(key=lambda c: (not c.baseline, *ranks.get(c.config_hash, (True, math.inf)), c.index))
    return sorted(candidates[:most], key=lambda c: c.index)


def in_grey(results: StudyAnalysis, coloured: Sequence[CandidateRow]) -> list[CandidateRow]:
    """Return the candidates that have a grey line each: the others, in the study's order.

    Of more than 200 it is those with a complete trial; of more of these 100, evenly from the best to the worst.
    """
    named = {c.config_hash for c in coloured}
    others = [c for c in results.candidates if c.config_hash not in named]
    if len(others) <= OTHERS:
        return others
    complete = set(results.trials.loc[results.trials["state"] == "complete", "config_hash"])
    ranks = _ranks(results)
    others = [c for c in others if c.config_hash in complete]
    others.sort(key=lambda c: (ranks.get(c.config_hash, (True, math.inf))[1], c.index))
    return evenly(others)


def evenly(ordered: Sequence[T]) -> list[T]:
    """Return these; of more than 200 it is 100, the first, the last and evenly between them."""
    if len(ordered) <= OTHERS:
        return list(ordered)
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, SOME).round().astype(int)]


def colour_note(results: StudyAnalysis, most: int = MOST, grey: int | None = None) -> str:
    """Return a subtitle that explains colour and grey; '' where all candidates have a colour.

    grey: how many are, where `in_grey` gives some of the others alone.
    """
    more = len(results.candidates) - most
    if more <= 0:
        return ""
    told = f"in colour the baseline, the front and the best, {most} in all; grey: "
    if grey is None:
        return f"{told}{more} more"
    return f"{told}{grey} of {more} more, {'from the best to the worst' if _ranks(results) else 'evenly'}"


def name(label: str) -> str:
    """Shorten a candidate's name for a figure."""
    from ablate.io.text import shortened

    return shortened(label, NAME)


def _ranks(results: StudyAnalysis) -> dict[str, tuple[bool, float]]:
    """Return {config_hash: (not on the front, quality, smaller where better)} of candidates with a value."""
    quality = results.quality
    ranks: dict[str, tuple[bool, float]] = {}
    try:
        if quality is not None:
            table = results.front([quality.column])
            for hash_, value in zip(table["config_hash"], table[quality.column] * quality.sign, strict=True):
                ranks[str(hash_)] = (True, float(value) if math.isfinite(value) else math.inf)
        table = results.front()
        for hash_ in table.loc[table["on_front"], "config_hash"]:
            ranks[str(hash_)] = (False, ranks.get(str(hash_), (True, math.inf))[1])
    except InputError:  # values that may not be compared rank nobody
        pass
    return ranks
