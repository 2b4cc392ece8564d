"""Several trials in one process, trained as one: each with its own folder, checkpoints, measurements and record.

A job with `members`, which are ordinary jobs of trials, is run so. What of them has not ended when the pack does, is in
its folder as after any interruption: whoever runs it again, packed or not, goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from ablate.io.files import sweep, write_json
from ablate.io.sealed import sealed
from ablate.kinds.executor import Job, Stop, Stopped
from ablate.runtime.memory import Gauge, freed_memory_kept, out_of_memory, release_memory
from ablate.spec.explain import exception_summary
from ablate.training.loop import LOOK_SECONDS, Steps, Wanted
from ablate.training.pack import MemberError, Pack
from ablate.training.packed_pass import PackedPassError
from ablate.training.steps import TrainingStep
from ablate.worker import records
from ablate.worker.exclusive import alone_in_folder, alone_in_process
from ablate.worker.messages import Record, TrialJob, WorkerReport, trial_job
from ablate.worker.out_of_memory import MeasuringOutOfMemoryError
from ablate.worker.reports import report_of
from ablate.worker.trial_run import Shared, TrialRun

ROOM = 0.9  # of the memory that is free, at the most, that a pack's estimate may take


def run_pack(job: Job, stop: Stop) -> WorkerReport:
    """Run the trials of a pack to their ends; report on each that has ended, in `members`.

    The report says in `apart` why a trial that has not ended is to run alone, and in `unfit` why trials of this shape
    cannot be trained as one; it is `oom` where the memory does not suffice for all of them. Raises Stopped soon after
    `stop()` has become true, and what loading the data raises.
    """
    pack = PackRun(job, stop)
    try:
        with alone_in_process(job, stop) as stop_in_turn, freed_memory_kept(torch.device(job["device"])):
            return pack.run(stop_in_turn)
    except Exception as error:
        traceback.clear_frames(error.__traceback__)
        report = report_of(job, error)
        if report is None:
            raise
        return {**report, "members": pack.reports}
    finally:
        release_memory(torch.device(job["device"]))


class PackRun:
    """One run of a pack. `reports`: of the members that have ended so far."""

    def __init__(self, job: Job, stop: Stop) -> None:
        self._job = job
        self._jobs = [trial_job(member) for member in job["members"]]
        self._stop = stop
        self.reports: list[WorkerReport] = []
        self._apart: dict[str, str] = {}
        self._unfit: str | None = None
        self._members: list[Member] = []
        self._beaten = time.monotonic()

    def run(self, stop: Stop) -> WorkerReport:
        """Train and measure them; return the report of the pack."""
        self._stop = stop
        with contextlib.ExitStack() as folders:
            waiting = []
            for job in self._jobs:
                folder = Path(job["folder"])
                folders.enter_context(alone_in_folder(folder, stop))
                record = records.take(folder, job)
                if record is None:
                    waiting.append(job)
                else:
                    self.reports.append(_report(job, record))
            self._check_room(waiting)
            try:
                for job in waiting:
                    self._begin(job, len(waiting))
                self._train()
            finally:
                for member in self._members:
                    member.close()
        report: dict[str, Any] = {"job": self._job["job"], "status": "done", "members": self.reports}
        report |= {"apart": self._apart} | ({} if self._unfit is None else {"unfit": self._unfit})
        return report  # type: ignore[return-value]

    def _check_room(self, jobs: Sequence[TrialJob]) -> None:
        """Raise MemoryError where that many are not expected to fit; one alone is for its run to find out."""
        sizes = [size for job in jobs if (size := job.get("estimated_memory_bytes")) is not None]
        device = torch.device(self._job["device"])
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
        if len(jobs) > 1 and sum(sizes) > ROOM * free:
            needed, there = sum(sizes) / 2**30, free / 2**30
            raise MemoryError(f"{len(jobs)} trials take about {needed:.2f} GiB together, and {there:.2f} are free")

    def _begin(self, job: TrialJob, count: int) -> None:
        """Load a member, up to its first step."""
        try:
            member = Member(job, count, self._stop_of, self._settle)
        except Exception as error:  # noqa: BLE001 - the others go on
            self._failed(job, error)
            return
        self._members.append(member)
        self._advance(member, None)

    def _settle(self) -> None:
        """Wait for the device, on everybody's account, before one member reads numbers from it."""
        device = torch.device(self._job["device"])
        if device.type != "cuda":
            return
        begun = time.monotonic()
        torch.cuda.synchronize(device)
        seconds = time.monotonic() - begun
        for member in self._members:
            member.clock.add(seconds / len(self._members))
            member.clock.waited(seconds)

    def _stop_of(self) -> bool:
        """Ask whether to stop, on behalf of the member that is at work, and let those that wait show that they live."""
        if time.monotonic() - self._beaten >= LOOK_SECONDS:
            self._beaten = time.monotonic()
            for member in self._members:
                member.beat()
        return self._stop()

    def _train(self) -> None:
        """Take steps together, as long as there are two; the last one goes on by itself."""
        pack: Pack | None = None
        while self._members:
            if len(self._members) == 1:
                if pack is not None:
                    pack.dissolve()
                self._finish(self._members[0])
                return
            learners = [member.run.training.learner for member in self._members]
            if pack is None or pack.learners != learners:
                if pack is not None:
                    pack.dissolve()
                try:
                    pack = Pack(learners)
                except PackedPassError as error:
                    self._unfit = str(error)
                    return
            if not self._step(pack):
                return

    def _step(self, pack: Pack) -> bool:
        """Take one step together; return whether the pack goes on."""
        members = list(self._members)
        begun = time.monotonic()
        try:
            steps = pack.step([member.wanted for member in members])
        except MemberError as error:
            self._advance(members[error.member], error.error)
            return True
        except PackedPassError as error:
            self._unfit = str(error)
            return False
        share = (time.monotonic() - begun) / len(members)
        stopped = False
        for member, step in zip(members, steps, strict=True):
            member.clock.add(share)
            try:
                self._advance(member, step)
            except Stopped:  # the others write their checkpoints too
                stopped = True
        if stopped:
            raise Stopped
        return True

    def _advance(self, member: Member, step: TrainingStep | Exception | None) -> None:
        """Give a member its step, or what it failed with; take it out where it has ended."""
        try:
            with member.clock.running():
                member.advance(step)
        except StopIteration as end:
            self._ended(member, end.value)
        except Exception as error:  # noqa: BLE001 - the others go on
            self._members.remove(member)
            self._failed(member.job, error)

    def _finish(self, member: Member) -> None:
        """Run the last member to its end, with steps of its own."""
        while member in self._members:
            horizon, observers = member.wanted
            try:
                with member.clock.running():
                    step: TrainingStep | Exception = member.run.training.learner.step(horizon, observers)
            except Exception as error:  # noqa: BLE001 - for the training, which says what comes of it
                step = error
            self._advance(member, step)

    def _ended(self, member: Member, record: Record) -> None:
        self._members.remove(member)
        written = records.write(member.folder, record, member.run.beside())
        records.forget_progress(member.folder)
        self.reports.append(_report(member.job, written))

    def _failed(self, job: TrialJob, error: Exception) -> None:
        """Note that a trial failed, which is out of the pack: it runs again, alone. What is everybody's is raised."""
        if isinstance(error, Stopped):
            raise error
        if out_of_memory(error) and not isinstance(error, MeasuringOutOfMemoryError):
            raise error
        traceback.clear_frames(error.__traceback__)
        report = report_of(job, error)
        if report is not None:  # its samples did not fit; a full disk, other source or data, which end the run
            self.reports.append(report)
        else:
            self._apart[job["job"]] = exception_summary(error).splitlines()[0][:200]


class Member:
    """A trial of a pack: its run, up to the next step that it asks for (`wanted`)."""

    def __init__(self, job: TrialJob, count: int, stop: Stop, settle: Callable[[], None]) -> None:
        self.job = job
        self.folder = Path(job["folder"])
        self.clock = MemberClock()
        sweep(self.folder)
        records.forget_progress(self.folder)  # of an earlier worker
        write_json(self.folder / "job.json", sealed(job), durable=False)
        with self.clock.running():
            gauge = NoGauge(torch.device(job["device"]))
            shared = Shared(self.clock, settle, gauge, {"packed": count}) if count > 1 else None
            self.run = TrialRun(job, self.folder, stop, shared)
        self._steps: Steps[Record] = self.run.steps()
        self.wanted: Wanted

    def advance(self, step: TrainingStep | Exception | None) -> None:
        """Go on to the next step. Raises StopIteration with the record at the end, and what the trial raises."""
        if step is None:
            self.wanted = next(self._steps)
        elif isinstance(step, Exception):
            self.wanted = self._steps.throw(step)
        else:
            self.wanted = self._steps.send(step)

    def beat(self) -> None:
        """Write the progress file where it has grown old, as a sign of life."""
        self.run.training.beat()

    def close(self) -> None:
        """Let go of what the run holds."""
        self._steps.close()


class MemberClock:
    """Seconds of one member: of what it does alone, and its share of what all do together."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._since: float | None = None

    def __call__(self) -> float:
        """Seconds so far."""
        return self._spent + (0.0 if self._since is None else time.monotonic() - self._since)

    def add(self, seconds: float) -> None:
        """Add a share of what was done together."""
        self._spent += seconds

    def waited(self, seconds: float) -> None:
        """Leave out what the member that is at work waited for all."""
        if self._since is not None:
            self._since += seconds

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count what is done within a `with`."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._spent, self._since = self(), None


class NoGauge(Gauge):
    """Measures nothing: what one trial of a pack takes of the process's memory cannot be told."""

    def begin_training(self) -> None:
        """Nothing."""

    def step_done(self) -> None:
        """Nothing."""

    def end_training(self) -> None:
        """Nothing."""

    @property
    def peak(self) -> None:
        """Not known."""


def _report(job: TrialJob, record: Record) -> WorkerReport:
    return {"job": job["job"], "status": records.STATUS[record["state"]], "record": record}
