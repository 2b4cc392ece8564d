"""The confirmation of a study: its best candidates on fresh seeds, in a folder of their own below the study's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ablate.candidates.objectives import KNOWN_BEFOREHAND, Objective
from ablate.errors import InputError
from ablate.results.fronts.probable import is_logarithmic
from ablate.results.fronts.spread import Elsewhere
from ablate.results.fronts.two_way import Array, by_seed, two_way
from ablate.results.measurements import values

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

Study = TypeVar("Study", bound="StudyAnalysis")
FOLDER = "confirmed"  # below the study's


def confirmed(results: Study) -> Study | None:
    """Return the results of a study's confirmation alone; None where there is none."""
    folder = results.path / FOLDER
    return type(results)(folder) if (folder / "lock.json").is_file() else None


def spread_elsewhere(results: StudyAnalysis, objectives: Sequence[Objective]) -> dict[str, Elsewhere]:
    """Return {column: the spread over seeds that the study's confirmation tells} of objectives that are measured.

    It is of logarithms where those of the study are taken.
    """
    other = confirmed(results)
    found: dict[str, Elsewhere] = {}
    if other is None:
        return found
    for objective in objectives:
        if objective.column in KNOWN_BEFOREHAND:
            continue
        try:
            own, fresh = _values(results, objective), _values(other, objective)
        except InputError:  # not measured there, or in different ways
            continue
        if is_logarithmic(own) and not is_logarithmic(fresh):
            continue
        layout = two_way(np.log(fresh) if is_logarithmic(own) else fresh)
        found[objective.column] = Elsewhere(float(layout.squares.sum()), layout.total_degrees)
    return found


def _values(results: StudyAnalysis, objective: Objective) -> Array:
    frame, _ = values(results.trials, results.metrics, [objective])
    return by_seed(frame, objective.column, [candidate.config_hash for candidate in results.candidates])
