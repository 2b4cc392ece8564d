"""The reference point of a study's hypervolume: whether it names the objectives, and costs more than the baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ablate.candidates.objectives import STATIC, Objective
from ablate.errors import InputError, Problem, did_you_mean
from ablate.study.loaded import LoadedStudy
from ablate.study.schema import Study


def reference_problems(study: Study, objectives: Sequence[Objective]) -> list[Problem]:
    """Return why the study's reference point is none: a number is missing, or is of no objective."""
    return list(_problems(study.reference, [objective.name for objective in objectives])) if study.reference else []


def _problems(reference: Mapping[str, Any], names: Sequence[str]) -> Iterator[Problem]:
    for name, value in reference.items():
        if name not in names:
            yield Problem(("reference", name), f"{name!r} is no objective of this study{did_you_mean(name, names)}")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            yield Problem(("reference", name), f"expected a number, not {value!r}")
    missing = [name for name in names if name not in reference]
    if missing:
        yield Problem(
            ("reference",), f"a reference point has a number for each objective; missing: {', '.join(missing)}"
        )


def check_reference(loaded: LoadedStudy) -> list[str]:
    """Return no warning. Raises InputError where the baseline already costs as much as the reference point, or more."""
    reference = loaded.study.reference
    known = [objective for objective in loaded.objectives if objective.column in STATIC]
    if not reference or not known:
        return []
    cost = loaded.trial_settings.cost(loaded.study.base)
    for objective in known:
        value, limit = float(getattr(cost, objective.column)), float(reference[objective.name])
        if value >= limit:
            message = (
                f"reference.{objective.name}: {limit:.4g} lies inside the front: the baseline has {value:.4g}, and "
                "what costs no less than the reference point counts nothing; give the most that a candidate may cost"
            )
            raise InputError(message, loaded.document.where(("reference", objective.name)))
    return []
