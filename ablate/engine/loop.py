"""The engine: asks the ledger for candidates, has their trials run, tells the ledger their scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ablate.candidates.candidate import Candidate
from ablate.candidates.flops import Cost
from ablate.candidates.objectives import STATIC
from ablate.engine.checked_pool import CheckedPool
from ablate.engine.dispatch import TICK, Dispatcher
from ablate.engine.forecast import Forecast
from ablate.engine.ledger import WORST, Ledger
from ablate.engine.plan import Plan
from ablate.engine.prepare import prepare
from ablate.engine.progress import Outcome, Progress, running
from ablate.engine.proposals import Asked
from ablate.engine.score import Group
from ablate.engine.watchdog import Watchdog
from ablate.errors import SpecError
from ablate.io.files import write_json
from ablate.io.sealed import sealed
from ablate.kinds.design import Assignment
from ablate.runtime.patient import doing, telling
from ablate.worker import out_of_memory, records
from ablate.worker.messages import Record, TrialJob, WorkerReport, trial_job
from ablate.worker.reports import failure_report

ENDED = "ended.json"  # in the study's folder while nothing is left to do


class Engine:
    """Runs a study to its end, and resumes it: nothing that was measured is measured again.

    `watch` is shown a snapshot now and then; `watchdog` says which trials hang. Raises InputError where the
    data cannot be prepared or the ledger cannot be written, and OSError where a disk is full: the folder resumes.
    """

    def __init__(
        self,
        plan: Plan,
        pool: CheckedPool,
        watch: Callable[[Progress], None] = lambda progress: None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.plan = plan
        self.pool = pool
        self.watch = watch
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
        self._groups: dict[str, list[Group]] = {}  # by trial: two candidates may be one and the same
        self.dispatcher: Dispatcher[TrialJob] = Dispatcher(
            pool,
            watchdog or Watchdog(None),
            lambda line: self._lines.append(line),
            name=plan.names.trial,
            activity=self._activity,
            smaller=self._smaller,
            resumed="it goes on from its checkpoint",
            more=self._ask,
            begin=self._begin,
            tick=self._tell_watch,
        )
        self._ended: dict[str, Record | None] = {}  # records by trial; None: failed in this run
        self._records: dict[str, Record] = {}  # those that are there
        self._lines: list[str] = []
        self._shared: dict[str, Any] | None = None  # keys of every job, by the preparation; None: it is still to come
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
            for job, report in self.dispatcher.run():
                self._take(job, report)
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
        worth = {number: values for number, group in told.items() if (values := self._scores(group)) is not None}
        return [self.plan.names(told[number].asked.assignment) for number in self.ledger.correct(worth)]

    def _conclude(self) -> None:
        """Write into the folder that the study is whole, and of how many trials."""
        ended = {"schema": 1, "trials": len(self._groups), "short": self.outcome.short}
        write_json(self.plan.folder / ENDED, sealed(ended))

    def _ask(self) -> bool:
        """Ask for a candidate and queue its trials, once a worker waits for it; False when the design has no more."""
        asked = self.ledger.ask()
        if asked is not None:
            self._open(asked)
        return asked is not None

    def _begin(self, job: TrialJob) -> dict[str, Any]:
        """A trial is handed to a worker: the job as it is sent, with what the preparation found out."""
        if self._shared is None:
            self._shared = prepare(self.pool, job, self.plan.cache, self._tell_watch)
        (Path(job["folder"]) / "failure.json").unlink(missing_ok=True)
        self._forecast.begun(job["trial"])
        return {**self._shared, **job}

    def _activity(self, job: TrialJob) -> str:
        """What a trial's worker last said that it was doing."""
        last = running(job, self.plan.names)
        return f"in phase {last.phase!r}, after {last.images:,} images"

    def _smaller(self, job: TrialJob, report: WorkerReport) -> TrialJob | None:
        """A trial that needs less memory: half the sampling batch where it is measured, else half the micro-batch."""
        called = self.plan.names.trial(job)
        phase = report.get("phase") or running(job, self.plan.names).phase
        if phase == out_of_memory.MEASURE:
            again = out_of_memory.half_sampling_batch(job, job["evaluation"])
            if again is not None:
                count = again["sampling_batch"]
                self._lines.append(f"{called}: out of memory while it was measured; {count} samples at a time")
            return again
        again = out_of_memory.half_micro_batch(job)
        if again is None:
            return None
        self._lines.append(f"{called}: out of memory; micro-batch {again['micro']}, the same batch in all")
        candidate = self.plan.candidate(self._groups[job["trial"]][0].asked.assignment)
        return self._sized(again, candidate)

    def _open(self, asked: Asked) -> None:
        """Take up a candidate: its seeds that are measured already count, the others are queued."""
        plan, called = self.plan, self.plan.names(asked.assignment)
        try:
            with doing(f"putting {called} together"):
                candidate = plan.candidate(asked.assignment)
        except SpecError as error:
            self._refuse(asked, error.message)
            return
        cost, build_error = None, None
        try:
            with doing(f"building the network of {called}"):
                cost = plan.trial_settings.cost(candidate)
        except Exception as error:  # noqa: BLE001 - a plugin's own code, built here for the first time
            build_error = error
        too_much = None if cost is None or asked.told else self._too_much(asked, cost)
        if too_much is not None:
            self._refuse(asked, too_much)
            return
        design, trials = plan.design, plan.folder / "trials"
        specs = plan.trial_settings.jobs(
            candidate, design.seeds, asked.assignment, plan.plugins, trials, cost, design.first_seed
        )
        own = {**plan.stands_on(candidate), "device": plan.device, "cache": str(plan.cache)}
        jobs = [trial_job({**job, **own}) for job in specs]
        fresh = [job for job in jobs if job["trial"] not in self._groups]
        if self.ledger.searches and not fresh:  # other words for one that is there
            self.ledger.repeat(asked)
            return
        group = Group(asked, tuple(job["trial"] for job in jobs))
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
            elif build_error is not None:
                self._fail(job, failure_report(job, build_error))
            else:
                self.dispatcher.add([self._sized(job, candidate)])
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

    def _take(self, job: TrialJob, report: WorkerReport) -> None:
        """A trial has ended for good: measured, diverged or failed."""
        trial = job["trial"]
        if report["status"] not in ("done", "diverged"):
            self._fail(job, report)
        elif (problem := records.fault(report.get("record"), trial, job)) is not None:
            message = f"what its worker reported {problem}"
            self._fail(job, {"job": job["job"], "status": "failed", "message": message})
        else:
            record = self._arrived(job, report)
            self.outcome.measured += 1
            self._lines.append(self._describe(record))
            self._end(trial, record)

    def _arrived(self, job: TrialJob, report: WorkerReport) -> Record:
        """The record, which from here on lies in the study's folder: a worker elsewhere may have written another."""
        folder = Path(job["folder"])
        record = report["record"]
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

    def _sized(self, job: TrialJob, candidate: Candidate) -> TrialJob:
        """The job, with the memory that its training should take: counted here, where a network was counted already."""
        from ablate.training.memory_estimate import estimated

        called = self.plan.names(job["choices"])
        with doing(f"building the network of {called}"):
            memory = estimated(candidate, self.plan.trial_settings.setting, self.plan.device, job.get("micro"))
        return {**job, "estimated_memory_bytes": memory}

    def _fail(self, job: TrialJob, report: WorkerReport) -> None:
        spec: Mapping[str, Any] = job
        trial, message = job["trial"], report.get("message", report["status"])
        self.outcome.failed += 1
        self._lines.append(f"{self.plan.names.trial(job)} failed: {message} ({trial})")
        kept = ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")
        failure = {
            "schema": 1,
            **{key: spec[key] for key in kept},
            "state": "failed",
            "class": report["status"],
            "message": message,
            "traceback": report.get("traceback"),
            "attempts": self.dispatcher.attempts(trial),
        }
        write_json(Path(job["folder"]) / "failure.json", failure)
        self._end(trial, None)

    def _end(self, trial: str, record: Record | None) -> None:
        self._ended[trial] = record
        if record is not None:
            self._records[trial] = record
            self.outcome.diverged += record["state"] == "diverged"
        for group in self._groups[trial]:
            group.records[trial] = record
            self._close(group)

    def _close(self, group: Group) -> None:
        """Tell the ledger the scores of a candidate, once all its seeds have ended."""
        if not group.complete or group.asked.told:
            return
        if group.diverged:
            self.ledger.tell(group.asked, self.ledger.worst(), dict.fromkeys(self.ledger.constraints, WORST))
        else:
            self.ledger.tell(group.asked, self._scores(group), group.excess(self.plan.constraints))

    def _scores(self, group: Group) -> list[float] | None:
        """One number an objective, the worst there is where a trial diverged; None where a number lacks."""
        return self.ledger.worst() if group.diverged else group.scores(self.plan.objectives)

    def _describe(self, record: Record) -> str:
        at = self.plan.names.trial(record)
        if (divergence := record.get("divergence")) is not None:
            return f"{at}: diverged at step {divergence['step']}: {divergence['message']}"
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
        at_work = tuple(running(job, self.plan.names) for job in self.dispatcher.running.values())
        left = None
        if not last:
            unasked, queued = self.ledger.unasked(), [job["trial"] for job in self.dispatcher.queue]
            self._forecast.foresee(unasked)
            left = self._forecast.left(self._records, at_work, queued, unasked, candidates, seeds)
        total, done, state = len(self._groups) + candidates * seeds, len(self._records), self.outcome
        self.watch(
            Progress(total, done, state.failed, state.diverged, at_work, left, self._records, lines, self.plan.names)
        )
