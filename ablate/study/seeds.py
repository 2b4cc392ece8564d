"""The seeds that a study's seeding adds: whether it can decide by what is measured, and how its looks are locked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.candidates.objectives import Objective
from ablate.candidates.space import Space
from ablate.errors import InputError, Problem
from ablate.kinds.looks import FEWEST
from ablate.study.schema import Study


def seeding_problems(study: Study, objectives: Sequence[Objective], space: Space) -> list[Problem]:
    """Return why seeds cannot be added in this study as its seeding says; [] where they can, or none are."""
    return list(_problems(study, objectives, space))


def all_seeds(study: Study) -> range:
    """Return the seeds that candidates of a study may have: the design's, and those that its seeding may add."""
    try:
        looks = study.seeding.looks(study.design.seeds)
    except ValueError:  # which is told as a problem of its own
        looks = None
    first = study.design.first_seed
    return range(first, first + (study.design.seeds if looks is None else looks.most))


def describe_seeding(study: Study, candidates: int) -> list[str]:
    """Return a line on how many trials may be added; none where every candidate has the design's seeds."""
    looks = study.seeding.looks(study.design.seeds)
    if looks is None:
        return []
    more = candidates * (looks.most - looks.first)
    return [
        f"seeding {study.seeding.name!r}: up to {looks.most} seeds where a comparison is open, "
        f"up to {more} more trials; at most {looks.alpha:g} of error in all, however often one looks"
    ]


def locked_looks(study: Study) -> dict[str, Any] | None:
    """Return what a lock keeps of a study's looks, by which its results are tested; None where nobody looks."""
    looks = study.seeding.looks(study.design.seeds)
    if looks is None:
        return None
    own = {"first": looks.first, "most": looks.most, "alpha": looks.alpha}
    return {"rule": study.seeding.name, **own, "first_seed": study.design.first_seed}


def is_looks(entry: Any) -> bool:
    """Return whether this is what `locked_looks` gives."""
    numbers = {"first": int, "most": int, "alpha": float, "first_seed": int, "rule": str}
    return isinstance(entry, dict) and all(isinstance(entry.get(key), type_) for key, type_ in numbers.items())


def check_looks(folder: Path, lock: Mapping[str, Any], study: Study) -> None:
    """Raise InputError where one would look at other numbers of seeds than before: the error would not be controlled.

    To begin with looks, or to add no seed any more, is no such change.
    """
    then, now = lock.get("seeding"), locked_looks(study)
    if then and now and then != now:
        before, after = (
            f"{looks['first']} to {looks['most']} seeds from {looks['first_seed']} on at a level of {looks['alpha']:g}"
            for looks in (then, now)
        )
        raise InputError(
            f"seeds are added by looks at {before}, and now would be at {after}: who has looked cannot choose other "
            "looks; leave seeding and design.seeds as they were, add no more with --set seeding=fixed, or give another "
            "folder with --out",
            str(folder),
        )


def _problems(study: Study, objectives: Sequence[Objective], space: Space) -> Iterator[Problem]:
    seeding, seeds = study.seeding, study.design.seeds
    try:
        looks = seeding.looks(seeds)
    except ValueError as error:
        if seeds < FEWEST:
            message = f"seeding {seeding.name!r} first looks at {FEWEST} pairs, so it takes {FEWEST} seeds or more"
            yield Problem(("design", "seeds"), message)
        else:
            yield Problem(("seeding",), f"{seeding.name!r}: {error}")
        return
    if looks is None:
        return
    if objectives and all(objective.is_cost for objective in objectives):
        yield Problem(("seeding",), f"{seeding.name!r} decides by what is measured, and no objective is: name a metric")
    if seeding.needs_baseline and not _tries_baseline(space, study):
        message = f"{seeding.name!r} compares with the baseline, and the design does not try it: say about: front"
        yield Problem(("seeding",), message)


def _tries_baseline(space: Space, study: Study) -> bool:
    """Return whether the baseline is among the candidates that are known beforehand."""
    from ablate.engine.proposals import plan_candidates  # imports optuna

    return space.complete({}) in plan_candidates(space, study.design)[0]
