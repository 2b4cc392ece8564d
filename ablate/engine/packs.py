"""Packs: forms, from trials that wait, those that are trained as one in one process, and takes apart what comes back.

Part of what a worker reports on a pack is on its members, and is dealt with as if each had been alone. A pack that did
not come through as a whole is halved: that finds the trial at which it fails, and what fits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ablate.candidates.candidate import Candidate
from ablate.candidates.packing import shape_of, why_alone
from ablate.spec.component import InputSpec
from ablate.worker.messages import TrialJob, WorkerReport, worker_report
from ablate.worker.reports import raise_if_fatal

MEMBERS = "members"  # key of a pack's job: those of its trials
AHEAD = 4  # times as many trials wait, at the most, for a pack to be filled


def members(job: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the jobs of the trials of a job: the members of a pack, or the job itself."""
    found: Sequence[Mapping[str, Any]] = job.get(MEMBERS, (job,))
    return found


class Packs:
    """Forms the packs of a run, of at most `size` trials.

    name: what a trial is called in lines for the user, which `say` takes.
    """

    def __init__(
        self, size: int, setting: InputSpec, name: Callable[[TrialJob], str], say: Callable[[str], None]
    ) -> None:
        self._size = size
        self._setting = setting
        self._name = name
        self._say = say
        self._candidates: dict[str, Candidate] = {}  # by config_hash
        self._most: dict[str, int] = {}  # of which a trial may be one, by its job: fewer after a pack that failed
        self._unfit: set[str] = set()  # shapes that the workers could not take as one
        self._number = 0

    def know(self, job: TrialJob, candidate: Candidate) -> None:
        """Take in whose trial a job is."""
        if self._size > 1:
            self._candidates[job["config_hash"]] = candidate

    def form(
        self, job: TrialJob, queue: deque[TrialJob], alone: Collection[str], ahead: Callable[[], bool]
    ) -> TrialJob:
        """Return the job, or that of a pack of it and of others of its shape, which are taken from the queue.

        alone: jobs that are in no pack. ahead: queues another candidate where that may be done already, and says so.
        """
        most, shape = self._limit(job), self._shape(job)
        if most < 2 or shape is None:
            return job

        def mates() -> list[TrialJob]:
            fit = (j for j in queue if self._limit(j) == most and j["job"] not in alone and self._shape(j) == shape)
            return [mate for mate, _ in zip(fit, range(most - 1), strict=False)]

        while len(found := mates()) < most - 1 and len(queue) < AHEAD * most and ahead():
            pass
        if not found:
            return job
        for mate in found:
            queue.remove(mate)
        together = [job, *found]
        self._number += 1
        keys: Mapping[str, Any] = job
        shared = {key: keys[key] for key in ("device", "cache") if key in keys}
        pack: dict[str, Any] = {"job": f"pack-{self._number}", "folder": job["folder"], **shared, MEMBERS: together}
        return cast(TrialJob, pack)

    def _limit(self, job: TrialJob) -> int:
        return self._most.get(job["job"], self._size)

    def _shape(self, job: TrialJob) -> str | None:
        """Return the shape of a trial; None where it is trained alone."""
        candidate = self._candidates.get(job["config_hash"])
        if candidate is None or "teacher" in job or why_alone(candidate, self._setting) is not None:
            return None
        shape = shape_of(candidate, self._setting, job.get("micro"))
        return None if shape in self._unfit else shape

    def open(self, pack: TrialJob, report: WorkerReport) -> tuple[list[tuple[TrialJob, WorkerReport]], list[TrialJob]]:
        """Return the members that have ended, each with its report, and those that are to run again.

        Raises what ends the run: a full disk, other source code or other data.
        """
        jobs = {job["job"]: cast(TrialJob, job) for job in members(pack)}
        reports = [worker_report(one, "pack") for one in report.get("members", ())]
        ended = [(jobs.pop(one["job"]), one) for one in reports if one["job"] in jobs]
        if report["status"] != "done":
            raise_if_fatal(report, Path(pack["folder"]))
        for line in self._left(jobs, report):
            self._say(line)
        return ended, list(jobs.values())

    def _left(self, jobs: Mapping[str, TrialJob], report: WorkerReport) -> Iterator[str]:
        """Settle how members run again that have not ended; yield lines for the user."""
        if not jobs:
            return
        if (unfit := report.get("unfit")) is not None:
            self._unfit.update(shape for job in jobs.values() if (shape := self._shape(job)) is not None)
            yield f"{_count(jobs)} of one shape cannot be trained as one, and are trained by themselves: {unfit}"
        elif report["status"] == "done":
            for name, why in report.get("apart", {}).items():
                if name in jobs:
                    self._most[name] = 1
                    yield f"{self._name(jobs[name])}: left its pack, and runs again alone: {why}"
        else:
            half = (len(jobs) + 1) // 2 if len(jobs) > 1 else 1
            self._most.update(dict.fromkeys(jobs, half))
            what = "out of memory" if report["status"] == "oom" else str(report["status"])
            why = f"{what}: {report['message']}" if report.get("message") else what
            how = f"in packs of {half}" if half > 1 else "by themselves"
            yield f"a pack of {_count(jobs)} ended, {why}; they go on from their checkpoints {how}"


def _count(jobs: Mapping[str, TrialJob]) -> str:
    return f"{len(jobs)} trial{'s' if len(jobs) > 1 else ''}"
