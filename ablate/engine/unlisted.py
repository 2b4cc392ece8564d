"""Candidates that have records and no entry in the ledger: it was lost, is older, or the study has grown since."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from ablate.candidates.candidate import Candidate
from ablate.candidates.space import Space
from ablate.candidates.trial import TrialSettings
from ablate.engine.plan import Place, Plan
from ablate.engine.sound import holds
from ablate.errors import SpecError
from ablate.kinds.design import Assignment
from ablate.kinds.start import START, parent_of
from ablate.worker import records

Compose = Callable[[Assignment], Candidate]


def unlisted(plan: Plan, known: Container[str]) -> Iterator[Assignment]:
    """Yield the assignments of candidates whose trials were measured or paused in this study, the oldest first.

    known: the starts of the config_hash of candidates that have an entry; looked at anew for each.
    """
    yield from trained_in(Place(plan.folder, plan.trial_settings), plan.space, plan.candidate, known)


def smaller_budgets(plan: Plan, known: Container[str]) -> Iterator[Assignment]:
    """Yield those of candidates that were trained with smaller budgets of this study, the oldest first."""
    for place in plan.earlier:
        for assignment in trained_in(place, plan.space, plan.candidate):
            own = _digest(plan.candidate, assignment, plan.trial_settings)
            if own is not None and own[:12] not in known:
                yield assignment


def trained_in(place: Place, space: Space, compose: Compose, known: Container[str] = ()) -> Iterator[Assignment]:
    """Yield the assignments of candidates whose trials in a folder were measured or paused, the oldest first.

    Each trial gives one, so that of a candidate with several seeds comes several times. known: starts of the
    config_hash of those that are left out.
    """
    names = (records.RECORD, records.PACKED, records.PAUSE)
    files = [file for name in names for file in place.folder.glob(f"trials/*/{name}")]
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
        if file.parent.name.partition("-")[0] in known:
            continue
        record = records.read_valid(file.parent, records.PAUSE if file.name == records.PAUSE else records.RECORD)
        if record is None:
            continue
        assignment = _in_this_space(space, record["choices"])
        if (inherited := record.get("inherited")) is not None:
            assignment = {**assignment, START: parent_of(inherited["parent"])}
        if _digest(compose, assignment, place.trial_settings) == record["config_hash"]:
            yield assignment


def _in_this_space(space: Space, choices: Assignment) -> Assignment:
    """Return the choices of a record with those that the study has had since: they stood in the base."""
    try:
        complete = space.complete(choices)
    except (SpecError, KeyError, TypeError, ValueError):
        return choices  # of another study
    inside = all(holds(d, complete[d.path]) for d in space.dimensions if d.path in complete)
    return complete if inside else choices


def _digest(compose: Compose, assignment: Assignment, settings: TrialSettings) -> str | None:
    """Return the hash of an assignment's candidate under these settings; None for choices of another study."""
    try:
        return settings.digest(compose(assignment))
    except (SpecError, KeyError, TypeError, AttributeError):
        return None
