"""Ask, submit, tell: candidates from the ledger, their seeds to the workers, what they found back again."""

from __future__ import annotations

import os
import statistics
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.candidates.candidate import Candidate
from ablate.candidates.flops import Cost
from ablate.candidates.names import Names
from ablate.candidates.space import Space
from ablate.candidates.trial import STATIC, Constraint, Objective, TrialSettings
from ablate.engine.forecast import Forecast
from ablate.engine.ledger import WORST, Asked, Ledger
from ablate.engine.progress import Outcome, Progress, running
from ablate.engine.watchdog import Watchdog
from ablate.errors import InputError, SpecError
from ablate.io.files import write_json
from ablate.io.sealed import sealed
from ablate.kinds.design import Assignment, Design
from ablate.kinds.executor import Pool, Report
from ablate.runtime.patient import doing, telling
from ablate.worker import datasets, records, sources

TICK = 0.25  # seconds between two looks at the workers
ENDED = "ended.json"  # in the study's folder while nothing is left to do
LOST = 5  # times that a trial is taken up again after its worker was lost


@dataclass(frozen=True)
class Plan:
    """Everything that the engine needs to know of a study."""

    name: str
    folder: Path
    space: Space
    design: Design
    trial_settings: TrialSettings
    objectives: tuple[Objective, ...]
    candidate: Callable[[Assignment], Candidate]  # raises SpecError for what does not fit together
    flops: Callable[[Candidate], float]  # of one trial
    plugins: tuple[str, ...]
    device: str  # "cpu" or "cuda"
    cache: Path
    seed: int
    constraints: tuple[Constraint, ...] = ()
    say: Callable[[str], None] = lambda line: None  # at once, from any thread: what the driver itself waits for
    names: Names = field(default_factory=Names)  # what candidates are called
    stands_on: Callable[[Candidate], Mapping[str, Any]] = lambda candidate: {}  # keys of a job: the source it needs


@dataclass
class _Group:
    """One candidate and its seeds."""

    asked: Asked
    trials: tuple[str, ...]
    records: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # None: failed

    @property
    def complete(self) -> bool:
        return len(self.records) == len(self.trials)


class Engine:
    """Runs a study to its end. Nothing that was measured is measured again.

    `watch` is shown a snapshot now and then; `watchdog` says which trials hang. Raises InputError where the
    data cannot be prepared or the ledger cannot be written, and OSError where a disk is full: the folder resumes.
    """

    def __init__(
        self,
        plan: Plan,
        pool: Pool,
        watch: Callable[[Progress], None] = lambda progress: None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.plan = plan
        self.pool = pool
        self.watch = watch
        self.watchdog = watchdog or Watchdog(None)
        self.outcome = Outcome()
        plan.folder.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(
            plan.folder / "optuna.db",
            plan.name,
            plan.space,
            plan.design,
            plan.objectives,
            plan.seed,
            tuple(constraint.of.name for constraint in plan.constraints),
        )
        self._groups: dict[str, list[_Group]] = {}  # by trial: two candidates may be one and the same
        self._queue: deque[dict[str, Any]] = deque()
        self._running: dict[str, dict[str, Any]] = {}
        self._ended: dict[str, dict[str, Any] | None] = {}  # records by trial; None: failed in this run
        self._records: dict[str, dict[str, Any]] = {}  # those that are there
        self._lost: dict[str, int] = {}
        self._alone: set[str] = set()  # trials that are to run with nothing beside them
        self._crowded: dict[str, bool] = {}  # whether something ran beside a trial
        self._lines: list[str] = []
        self._prepared = False
        self._shared: dict[str, Any] = {}  # keys of every job: what the preparation found
        self._forecast = Forecast(
            plan.candidate, plan.flops, pool.slots, training=60 * (plan.trial_settings.budget.minutes or 0.0)
        )
        self._watched = 0.0

    def run(self) -> Outcome:
        """Ask until the design has no more, and until everything that was asked for is measured."""
        with telling(self.plan.say):
            return self._run()

    def _run(self) -> Outcome:
        try:
            (self.plan.folder / ENDED).unlink(missing_ok=True)
            for asked in self.ledger.replay():
                self._open(asked)
            self._lines += [f"warning: {line}" for line in self.ledger.notes]
            self._enrol()
            self._lines += [
                f"{who}: optuna.db told other values than its records, which count" for who in self._correct()
            ]
            self._fill()
            while self._running:
                for report in self.pool.wait(TICK):
                    self._take(report)
                self._fill()
                self._abandon()
                self._tell_watch()
            self._correct()
            self.outcome.short = self.ledger.short()
            self._tell_watch(last=True)
            self._conclude()
        finally:
            self.ledger.close()
        return self.outcome

    def _enrol(self) -> None:
        """Candidates of a search that have records and that the ledger does not know: it was lost, or is older."""
        if not self.ledger.searches:
            return  # what it lists is asked for, and then found measured
        joined = 0
        files = self.plan.folder.glob(f"trials/*/{records.RECORD}")
        for folder in (file.parent for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)):
            candidate = folder.name.partition("-")[0]
            known = any(trial.startswith(f"{candidate}-") for trial in self._groups)
            record = None if known else records.whole(folder)
            assignment = {} if record is None else dict(record["choices"])
            if record is not None and self._digest(assignment) == record["config_hash"]:
                self._open(self.ledger.enrol(assignment))
                joined += 1
        if joined:
            self._lines.append(f"{joined} candidates have records that optuna.db did not know: they join it")

    def _digest(self, assignment: Assignment) -> str | None:
        """The hash of an assignment's candidate; None for choices of another study."""
        try:
            return self.plan.trial_settings.digest(self.plan.candidate(assignment))
        except (SpecError, KeyError, TypeError, AttributeError):
            return None

    def _correct(self) -> list[str]:
        """Let the ledger say what the records say, for a search builds on it; who was told otherwise."""
        groups = {id(group): group for of in self._groups.values() for group in of}
        told = {group.asked.number: group for group in groups.values() if group.asked.told and group.complete}
        worth = {number: values for number, group in told.items() if (values := self._worth(group)) is not None}
        return [self.plan.names(told[number].asked.assignment) for number in self.ledger.correct(worth)]

    def _conclude(self) -> None:
        """Leave word in the folder that the study is whole, and of how many trials."""
        ended = {"schema": 1, "trials": len(self._groups), "short": self.outcome.short}
        write_json(self.plan.folder / ENDED, sealed(ended))

    def _fill(self) -> None:
        """Give every free worker a job; a candidate is asked for only when a worker waits for it."""
        while len(self._running) < self.pool.slots:
            if not self._queue:
                asked = self.ledger.ask()
                if asked is None:
                    return
                self._open(asked)
                continue
            exclusive = self._queue[0]["trial"] in self._alone or not self._alone.isdisjoint(self._running)
            if exclusive and self._running:
                return
            job = self._queue.popleft()
            if not self._prepared:
                self._prepare(job)
            self._submit(job)

    def _prepare(self, job: Mapping[str, Any]) -> None:
        """What all trials share (cached data, the reference's features) is made once, before the first of them."""
        self._prepared = True
        self.pool.submit({**job, "job": "prepare", "prepare": True})
        metrics = sorted({f"metric {metric['type']!r}" for metric in job["evaluation"]["metrics"]})
        of = ", ".join([f"data {job['data']['type']!r}", *metrics])
        with doing(f"preparing what all trials share in a worker: {of}", 12):
            while not (reports := self.pool.wait(TICK)):
                self._tell_watch()
        (report,) = reports
        if report["status"] != "done":
            self._refuse_full_disk(report, self.plan.cache)
            sources.refuse(report)
            datasets.refuse(report)
            raise InputError(f"the data could not be prepared: {report['message']}\n{report.get('traceback', '')}")
        self._shared = {key: report[key] for key in ("data_hash",) if key in report}

    def _submit(self, job: dict[str, Any]) -> None:
        trial = job["trial"]
        (Path(job["folder"]) / "failure.json").unlink(missing_ok=True)
        for other in self._running:
            self._crowded[other] = True
        self._crowded[trial] = bool(self._running)
        self._running[trial] = job
        self._forecast.begun(trial)
        self.watchdog.begun(job)
        self.pool.submit({**self._shared, **job})

    def _abandon(self) -> None:
        """End what hangs: the study goes on without it."""
        for trial, seconds in self.watchdog.silent(self._running).items():
            one = running(self._running[trial], self.plan.names)
            why = f"no sign of life for {seconds:.0f} s in phase {one.phase!r}, after {one.images:,} images"
            advice = "a plugin's code that waits for ever, or a step that is longer than `executor.patience` [s]"
            if not self.pool.abandon(trial, f"{why}: {advice}"):
                self._lines.append(f"{one.label}, seed {one.seed}: {why}; this executor cannot end it")

    def _open(self, asked: Asked) -> None:
        """Take up a candidate: its seeds that are measured already count, the others are queued."""
        plan, called = self.plan, self.plan.names(asked.assignment)
        try:
            with doing(f"putting {called} together"):
                candidate = plan.candidate(asked.assignment)
        except SpecError as error:
            self._refuse(asked, error.message)
            return
        cost, broken = None, None
        try:
            with doing(f"building the network of {called}"):
                cost = plan.trial_settings.cost(candidate)
        except Exception as error:  # noqa: BLE001 - a plugin's own code, built here for the first time
            broken = _report(error)
        too_much = None if cost is None or asked.told else self._too_much(asked, cost)
        if too_much is not None:
            self._refuse(asked, too_much)
            return
        design, trials = plan.design, plan.folder / "trials"
        jobs = plan.trial_settings.jobs(
            candidate, design.seeds, asked.assignment, plan.plugins, trials, cost, design.first_seed
        )
        jobs = [{**job, **plan.stands_on(candidate)} for job in jobs]
        fresh = [job for job in jobs if job["trial"] not in self._groups]
        if self.ledger.searches and not fresh:  # other words for one that is there
            self.ledger.repeat(asked)
            return
        group = _Group(asked, tuple(job["trial"] for job in jobs))
        self._forecast.opened(candidate, group.trials)
        for trial in group.trials:
            self._groups.setdefault(trial, []).append(group)
            if trial in self._ended:
                group.records[trial] = self._ended[trial]
        for job in fresh:
            record = records.take(Path(job["folder"]), job, self._lines.append)
            if record is not None:
                self.outcome.reused += 1
                self._end(job["trial"], record)
            elif broken is not None:
                self._fail(job, broken)
            else:
                self._queue.append(self._sized({**job, "device": plan.device, "cache": str(plan.cache)}, candidate))
        if not fresh:
            self._close(group)

    def _refuse(self, asked: Asked, why: str) -> None:
        self.outcome.refused += 1
        self._lines.append(f"refused {self.plan.names(asked.assignment)}: {why}")
        self.ledger.refuse(asked, why)

    def _too_much(self, asked: Asked, cost: Cost) -> str | None:
        """Why a candidate that a search came to is not worth a training: what it costs breaks a constraint.

        The baseline is trained all the same, and so is everything that a finite design lists.
        """
        known = {c: getattr(cost, c.of.column) for c in self.plan.constraints if c.of.column in STATIC}
        broken = [f"{c.of.name} of {value:.4g}" for c, value in known.items() if c.excess(value) > 0]
        space = self.plan.space
        if not broken or space.proposals(self.plan.design) is not None or asked.assignment == space.complete({}):
            return None
        return f"its {', '.join(broken)} break a constraint"

    def _take(self, report: Report) -> None:
        """One job ended, in one of the ways that it can."""
        trial = report["job"]
        job = self._running.pop(trial)
        match report["status"]:
            case "done" | "diverged" if why := records.fault(report["record"], trial, job):
                self._fail(job, {"status": "failed", "message": f"what its worker reported {why}"})
            case "done" | "diverged":
                record = self._arrived(job, report)
                self.outcome.measured += 1
                self._lines.append(self._describe(record))
                self._end(trial, record)
            case "lost" if self._lost.get(trial, 0) < LOST:
                self._lost[trial] = self._lost.get(trial, 0) + 1
                self._lines.append(f"{self.plan.names.trial(job)}: its worker was lost; it goes on from its checkpoint")
                self._queue.appendleft(job)
            case "oom" if self._crowded[trial]:
                self._alone.add(trial)
                self._lines.append(f"{self.plan.names.trial(job)}: out of memory beside others; again later, alone")
                self._queue.append(job)
            case "oom" if (micro := _halved(job)) >= 1:
                self._lines.append(
                    f"{self.plan.names.trial(job)}: out of memory; micro-batch {micro}, the same batch in all"
                )
                candidate = self.plan.candidate(self._groups[trial][0].asked.assignment)
                self._queue.appendleft(self._sized({**job, "micro": micro}, candidate))
            case _:
                self._refuse_full_disk(report, Path(job["folder"]))
                sources.refuse(report)
                datasets.refuse(report)
                self._fail(job, report)

    def _arrived(self, job: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """The record, which from here on lies in the study's folder: a worker elsewhere may have written another."""
        folder = Path(job["folder"])
        record: dict[str, Any] = report["record"]
        folder.mkdir(parents=True, exist_ok=True)
        list(folder.iterdir())  # a network's file system asks the server again
        if records.take(folder, job, self._lines.append) == record:
            return record
        self._lines.append(
            f"warning: {self.plan.names.trial(job)}: the files of host {report.get('host', 'unknown')} "
            f"did not arrive in {folder}; its record was written from what it reported, its curve, samples and "
            "checkpoint are not here. Let all workers see the study's folder"
        )
        return records.write(folder, record)

    def _sized(self, job: dict[str, Any], candidate: Candidate) -> dict[str, Any]:
        """The job, with the memory that its training should take: counted here, where a network was counted already."""
        from ablate.training.memory_estimate import estimated

        called = self.plan.names(job["choices"])
        with doing(f"building the network of {called}"):
            memory = estimated(candidate, self.plan.trial_settings.setting, self.plan.device, job.get("micro"))
        return {**job, "estimated_memory_bytes": memory}

    def _refuse_full_disk(self, report: Report, path: Path) -> None:
        """No candidate is to blame, and no other would fare better."""
        if report.get("errno") is not None:
            raise OSError(report["errno"], os.strerror(report["errno"]), str(path))

    def _fail(self, job: Mapping[str, Any], report: Report) -> None:
        trial, message = job["trial"], report.get("message", report["status"])
        self.outcome.failed += 1
        self._lines.append(f"{self.plan.names.trial(job)} failed: {message} ({trial})")
        kept = ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")
        failure = {
            "schema": 1,
            **{key: job[key] for key in kept},
            "state": "failed",
            "class": report["status"],
            "message": message,
            "traceback": report.get("traceback"),
            "attempts": 1 + self._lost.get(trial, 0),
        }
        write_json(Path(job["folder"]) / "failure.json", failure)
        self._end(trial, None)

    def _end(self, trial: str, record: dict[str, Any] | None) -> None:
        self._ended[trial] = record
        if record is not None:
            self._records[trial] = record
            self.outcome.diverged += record["state"] == "diverged"
        for group in self._groups[trial]:
            group.records[trial] = record
            self._close(group)

    def _close(self, group: _Group) -> None:
        """Tell the ledger what a candidate is worth, once all its seeds have ended."""
        if not group.complete or group.asked.told:
            return
        records = [record for record in group.records.values() if record is not None]
        if any(record["state"] == "diverged" for record in records):
            self.ledger.tell(group.asked, self.ledger.worst(), dict.fromkeys(self.ledger.constraints, WORST))
            return
        self.ledger.tell(group.asked, self._worth(group), self._excess(records))

    def _worth(self, group: _Group) -> list[float] | None:
        """One number an objective, by the candidate's records; None where it has none, or lacks one of them."""
        records = [record for record in group.records.values() if record is not None]
        if any(record["state"] == "diverged" for record in records):
            return self.ledger.worst()
        values = [self._mean(objective, records) for objective in self.plan.objectives]
        told = [value for value in values if value is not None]
        return told if records and len(told) == len(values) else None

    def _excess(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """How far a candidate lies beyond each bound; what it has no value of (no attention, no logits) it keeps."""
        means = [(constraint, self._mean(constraint.of, records)) for constraint in self.plan.constraints]
        return {one.of.name: 0.0 if mean is None else one.excess(mean) for one, mean in means}

    def _mean(self, objective: Objective, records: Sequence[Mapping[str, Any]]) -> float | None:
        found = [value for record in records if (value := objective.value(record)) is not None]
        return statistics.fmean(found) if found else None

    def _describe(self, record: Mapping[str, Any]) -> str:
        at = self.plan.names.trial(record)
        if record["state"] == "diverged":
            found = record["divergence"]
            return f"{at}: diverged at step {found['step']}: {found['message']}"
        shown = [f"{o.name} {v:.4g}" for o in self.plan.objectives if (v := o.value(record)) is not None]
        skipped = f", {record['skipped_steps']} steps skipped" if record.get("skipped_steps") else ""
        return f"{at}: {', '.join(shown)} ({record['seconds']:.0f} s{skipped})"

    def _tell_watch(self, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._watched < TICK:
            return
        self._watched = now
        candidates, seeds = self.ledger.remaining(), self.plan.design.seeds
        lines, self._lines = tuple(self._lines), []
        at_work = tuple(running(job, self.plan.names) for job in self._running.values())
        left = None
        if not last:
            unasked, queued = self.ledger.unasked(), [job["trial"] for job in self._queue]
            self._forecast.foresee(unasked)
            left = self._forecast.left(self._records, at_work, queued, unasked, candidates, seeds)
        total, done, state = len(self._groups) + candidates * seeds, len(self._records), self.outcome
        self.watch(
            Progress(total, done, state.failed, state.diverged, at_work, left, self._records, lines, self.plan.names)
        )


def _halved(job: Mapping[str, Any]) -> int:
    """Half of the micro-batch; 0 where it cannot be halved any more."""
    candidate = job["candidate"]
    return int(job.get("micro") or candidate.get("micro") or candidate["batch"]) // 2


def _report(error: Exception) -> Report:
    """What a worker would have said of an exception."""
    told = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    return {"status": "failed", "message": told, "traceback": "".join(traceback.format_exception(error))}
