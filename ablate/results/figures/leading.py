"""Which candidates a figure names and draws in colour: of many the baseline, the front, and the best after them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ablate.errors import InputError

if TYPE_CHECKING:
    from ablate.results.candidates import CandidateRow
    from ablate.results.results import Results

MOST = 24  # candidates that are named; the others are grey, or left out
NAME = 56  # signs of a name in a figure at the most
GREY = "#bdbdbd"


def leading(results: Results, most: int = MOST) -> list[CandidateRow]:
    """At most `most` candidates, in the study's order.

    All where there are no more; else the baseline, those on the front of the study's objectives, then the best in
    its quality.
    """
    found = list(results.candidates)
    if len(found) <= most:
        return found
    ranks = _ranks(results)
    first = sorted(found, key=lambda c: (not c.baseline, *ranks.get(c.config_hash, (True, math.inf)), c.index))[:most]
    return sorted(first, key=lambda c: c.index)


def said(results: Results, most: int = MOST) -> str:
    """What a caption has to say of it; nothing where all are named."""
    more = len(results.candidates) - most
    return "" if more <= 0 else f"in colour the baseline, the front and the best, {most} in all; grey: {more} more"


def name(label: str) -> str:
    """A candidate's name in a figure."""
    from ablate.io.text import shortened

    return shortened(label, NAME)


def _ranks(results: Results) -> dict[str, tuple[bool, float]]:
    """{candidate: (not on the front, quality that is smaller where it is better)} of those with a value."""
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
