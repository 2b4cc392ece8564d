"""Whether the candidates of a study differ in several choices at once, so that each of them tells of every choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.candidates.names import show

if TYPE_CHECKING:
    from ablate.results.candidates import CandidateRow


def several_factors(candidates: Sequence[CandidateRow]) -> bool:
    """Return whether some candidate differs from the first one, which the baseline is, in more than one choice."""
    if not candidates:
        return False
    base = candidates[0].choices
    return any(
        sum(path not in base or show(label) != show(base[path]) for path, label in c.choices.items()) > 1
        for c in candidates[1:]
    )
