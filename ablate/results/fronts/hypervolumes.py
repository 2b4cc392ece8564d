"""The hypervolume of a study's front, with its interval, up to a reference point that is fixed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ablate.errors import InputError
from ablate.results.front import hypervolume
from ablate.results.fronts.membership import drawn_fronts
from ablate.results.fronts.spread import NoSpreadError

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

DRAWN = 1000  # fronts whose hypervolumes are computed


class Hypervolume(NamedTuple):
    """The hypervolume up to a reference point, in the product of the objectives' units; larger is better.

    `value` is that of the candidates' means, which is too large where the best of many were lucky. `expected`, `low`
    and `high` (95 %) are of what their expected values probably are; NaN where `note` says why.
    """

    value: float
    expected: float
    low: float
    high: float
    reference: Mapping[str, float]
    fixed: bool  # by the study, or by who asked: else it is the front's own, and compares with no other
    note: str = ""


def hypervolume_of(
    results: StudyAnalysis,
    objectives: Sequence[str] | None = None,
    reference: Mapping[str, float] | None = None,
    where: Mapping[str, Any] | None = None,
) -> Hypervolume:
    """Compute the hypervolume of the front with its interval: `StudyFindings.hypervolume`."""
    attrs = results.front(objectives, where, reference=reference).attrs
    if attrs["hypervolume"] is None:
        why = attrs.get("refused") or "no candidate has a value in every objective, so there is no front"
        raise InputError(why, "reference" if attrs.get("refused") else None)
    point, fixed = attrs["reference_point"], attrs["reference_from"] != "front"
    try:
        _, drawn = drawn_fronts(results, objectives, where)
    except NoSpreadError as error:
        return Hypervolume(attrs["hypervolume"], math.nan, math.nan, math.nan, point, fixed, error.message)
    signs = np.array([results.objective(column).sign for column in attrs["objectives"]])
    corner = np.array(list(point.values())) * signs
    drawn_values = np.array([hypervolume(points, corner) for points in drawn.fronts(DRAWN)])
    low, high = np.quantile(drawn_values, [0.025, 0.975])
    return Hypervolume(attrs["hypervolume"], float(drawn_values.mean()), float(low), float(high), point, fixed)
