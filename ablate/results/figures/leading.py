"""Choose the candidates that a figure names and colours: of many the baseline, the front, and the next best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.errors import InputError

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

MOST = 24  # candidates that are named; the others are grey, or left out
NAME = 56  # signs of a name in a figure at the most
GREY = "#bdbdbd"


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


def colour_note(results: StudyAnalysis, most: int = MOST, shown: int | None = None) -> str:
    """Return a subtitle that explains colour and grey; '' where all candidates have a colour.

    shown: how many are grey, where these are some of the others, taken as `evenly` does.
    """
    more = len(results.candidates) - most
    if more <= 0:
        return ""
    grey = f"{more} more" if shown is None else f"{shown} of {more} more, from the best to the worst"
    return f"in colour the baseline, the front and the best, {most} in all; grey: {grey}"


def evenly(results: StudyAnalysis, candidates: Sequence[CandidateRow], most: int) -> list[CandidateRow]:
    """Return at most `most` of the candidates: of more, evenly from the best in quality to the worst."""
    if len(candidates) <= most:
        return list(candidates)
    ranks = _ranks(results)
    ordered = sorted(candidates, key=lambda c: (ranks.get(c.config_hash, (True, math.inf))[1], c.index))
    return [ordered[round(i * (len(ordered) - 1) / (most - 1))] for i in range(most)]


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
