"""Whether any candidate keeps the study's constraints on what is known before training; said before anything runs."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ablate.candidates.objectives import STATIC, Constraint
from ablate.engine.contained import contained
from ablate.errors import InputError
from ablate.kinds.design import Assignment
from ablate.runtime.patient import doing
from ablate.spec.component import Config
from ablate.study.loaded import LoadedStudy

LISTED = 2000  # candidates of a search that are listed
COUNTED = 300  # networks that are built to count them; where nothing satisfies, some seconds
DIGITS = 4


def check_constraints(loaded: LoadedStudy) -> list[str]:
    """Return a warning where no candidate that was looked at keeps the constraints on Gflops, parameters and macs.

    Raises InputError where all candidates were looked at: it names the nearest, and how far it lies beyond. The first
    that keeps them ends the search, so this takes long only where there is something to say.
    """
    bounds = [constraint for constraint in loaded.constraints if constraint.of.column in STATIC]
    if not bounds:
        return []
    space, complete = _candidates(loaded)
    seen: dict[Config, list[float]] = {}
    nearest: tuple[float, Assignment, list[float]] | None = None
    with doing("looking for candidates that keep the constraints", 3):
        for assignment in space:
            values = _costs(loaded, assignment, bounds, seen)
            if values is None:
                continue
            beyond = max(_relative(bound, value) for bound, value in zip(bounds, values, strict=True))
            if beyond <= 0:
                return []
            if nearest is None or beyond < nearest[0]:
                nearest = beyond, assignment, values
            if len(seen) >= COUNTED:
                complete = False
                break
    if nearest is None:  # nothing can be built, which its trials say
        return []
    _, assignment, values = nearest
    told = " and ".join(_told(bound, value) for bound, value in zip(bounds, values, strict=True))
    text = f"the nearest is {loaded.names(assignment)}, with {told}"
    if complete:
        message = f"constraints: no candidate keeps them; {text}. Widen the bounds, or vary towards smaller networks"
        raise InputError(message, loaded.document.where(("constraints",)))
    return [f"constraints: none of {len(seen)} networks that were counted keeps them; {text}"]


def _candidates(loaded: LoadedStudy) -> tuple[Iterator[Assignment], bool]:
    """Return candidates, the baseline's first, in an order that is no order of size; and whether they are all."""
    proposals, complete = loaded.proposals(), True
    space = loaded.space
    if proposals is None:
        try:
            proposals = list(itertools.islice(space.everything(), LISTED + 1))
        except OverflowError:  # a range: its ends stand for it
            ends = [d if d.choices else replace(d, choices=_ends(d.low, d.high)) for d in space.dimensions]
            proposals = list(itertools.islice(replace(space, dimensions=tuple(ends)).everything(), LISTED + 1))
            complete = False
    complete = complete and len(proposals) <= LISTED
    others = random.Random(0).sample(proposals, len(proposals))
    return itertools.chain([space.complete({})], others), complete


def _ends(low: float | None, high: float | None) -> tuple[float, ...]:
    return tuple(end for end in (low, high) if end is not None)


def _costs(
    loaded: LoadedStudy, assignment: Assignment, bounds: Sequence[Constraint], seen: dict[Config, list[float]]
) -> list[float] | None:
    """Return a candidate's values of the constraints; None where it cannot be put together or built."""
    with contextlib.suppress(Exception), contained():  # a plugin's own code: its trial says it
        candidate = loaded.candidate(assignment)
        if candidate.backbone not in seen:
            cost = loaded.trial_settings.cost(candidate)
            seen[candidate.backbone] = [float(getattr(cost, bound.of.column)) for bound in bounds]
        return seen[candidate.backbone]
    return None


def _relative(bound: Constraint, value: float) -> float:
    """Return how far a value lies beyond a bound, relative to it."""
    limit = bound.at_most if value > bound.at_most else bound.at_least
    return bound.excess(value) / (abs(limit) or 1.0)


def _told(bound: Constraint, value: float) -> str:
    """Return a value beside its bounds: `gflops of 0.31 (at most 0.1)`."""
    sides = [("at most", bound.at_most, value > bound.at_most), ("at least", bound.at_least, value < bound.at_least)]
    broken = [f"{word} {limit:.{DIGITS}g}" for word, limit, beyond in sides if beyond]
    return f"{bound.of.name} of {value:.{DIGITS}g}" + (f" ({' and '.join(broken)})" if broken else "")
