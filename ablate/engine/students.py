"""Students: trials that wait until the trial of the same study from whose weights they learn has ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ablate.worker import teachers
from ablate.worker.messages import Record, TrialJob


class Students:
    """The trials of a study that wait for their teacher, another trial of it.

    trials: the folder of the study's trials.
    """

    def __init__(self, trials: Path) -> None:
        self._trials = trials
        self._waiting: dict[str, list[TrialJob]] = {}  # by the teacher's trial

    @property
    def waiting(self) -> list[str]:
        """The trials that wait."""
        return [job["trial"] for jobs in self._waiting.values() for job in jobs]

    def keep(self, job: TrialJob, ended: Mapping[str, Record | None]) -> bool:
        """Keep a job whose teacher has not ended, and return whether it waits. ended: records; None: failed."""
        teacher = self._teacher(job)
        if teacher is None or teacher in ended:
            return False
        self._waiting.setdefault(teacher, []).append(job)
        return True

    def why_not(self, job: TrialJob, ended: Mapping[str, Record | None]) -> tuple[str, str] | None:
        """Return the teacher of a job whose turn has come, and why it has no weights; None where nothing is missing."""
        teacher = self._teacher(job)
        why = None if teacher is None else teachers.why_none(ended[teacher])
        return None if teacher is None or why is None else (teacher, why)

    def release(self, teacher: str) -> list[TrialJob]:
        """Return the jobs that waited for a trial, which has ended."""
        return self._waiting.pop(teacher, [])

    def _teacher(self, job: TrialJob) -> str | None:
        """Return the trial of this study that teaches; None where there is none, or it is of another study."""
        teacher = job.get("teacher")
        return teacher["trial"] if teacher is not None and Path(teacher["folder"]).parent == self._trials else None
