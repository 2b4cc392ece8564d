"""Candidates that have records and no entry in the ledger: it was lost, is older, or the study has grown since."""

from __future__ import annotations

from collections.abc import Container, Iterator

from ablate.engine.plan import Plan
from ablate.engine.sound import holds
from ablate.errors import SpecError
from ablate.kinds.design import Assignment
from ablate.worker import records


def unlisted(plan: Plan, known: Container[str]) -> Iterator[Assignment]:
    """Yield the assignments of candidates whose trials were measured or paused in this study, the oldest first.

    known: the starts of the config_hash of candidates that have an entry; looked at anew for each.
    """
    files = [file for name in (records.RECORD, records.PAUSE) for file in plan.folder.glob(f"trials/*/{name}")]
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
        if file.parent.name.partition("-")[0] in known:
            continue
        record = records.read_valid(file.parent, file.name)
        if record is None:
            continue
        assignment = _in_this_space(plan, record["choices"])
        if _digest(plan, assignment) == record["config_hash"]:
            yield assignment


def _in_this_space(plan: Plan, choices: Assignment) -> Assignment:
    """Return the choices of a record with those that the study has had since: they stood in the base."""
    try:
        complete = plan.space.complete(choices)
    except (SpecError, KeyError, TypeError, ValueError):
        return choices  # of another study
    inside = all(holds(d, complete[d.path]) for d in plan.space.dimensions if d.path in complete)
    return complete if inside else choices


def _digest(plan: Plan, assignment: Assignment) -> str | None:
    """Return the hash of an assignment's candidate; None for choices of another study."""
    try:
        return plan.trial_settings.digest(plan.candidate(assignment))
    except (SpecError, KeyError, TypeError, AttributeError):
        return None
