"""The engine: asks the ledger for candidates, has their trials run, tells the ledger their scores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ablate.candidates.candidate import Candidate
from ablate.candidates.flops import Cost
from ablate.candidates.objectives import STATIC
from ablate.candidates.trial import trial_id
from ablate.engine.arrival import FAILURE, record_in_folder, write_failure
from ablate.engine.checked_pool import CheckedPool
from ablate.engine.contained import contained
from ablate.engine.dispatch import Dispatcher
from ablate.engine.estimates import counted_train_gflops, with_memory_estimate
from ablate.engine.ladder import Ladder
from ablate.engine.ledger import WORST, Ledger
from ablate.engine.packs import MEMBERS, Packs, members
from ablate.engine.plan import Plan
from ablate.engine.prepare import prepare
from ablate.engine.progress import Outcome, Progress, running
from ablate.engine.proposals import Entry
from ablate.engine.reporter import ProgressReporter
from ablate.engine.score import Group
from ablate.engine.seeding import Seeds
from ablate.engine.spending import Spending
from ablate.engine.students import Students
from ablate.engine.unlisted import smaller_budgets, unlisted
from ablate.engine.watchdog import Watchdog
from ablate.errors import SpecError
from ablate.io.files import write_json
from ablate.io.sealed import sealed
from ablate.kinds.start import parent_of
from ablate.runtime.patient import doing, telling
from ablate.worker import out_of_memory, records, teachers
from ablate.worker.messages import Record, TrialJob, WorkerReport, trial_job
from ablate.worker.reports import failure_report

ENDED = "ended.json"  # in the study's folder while nothing is left to do


class Engine:
    """Runs a study to its end, and resumes it: nothing that was measured is measured again.

    watch: is called with a snapshot of the progress. watchdog: finds the trials that hang. pack: how many trials are
    trained as one, at the most. Raises InputError where the
    data cannot be prepared or the ledger cannot be written, and OSError where a disk is full: the folder resumes.
    """

    def __init__(
        self,
        plan: Plan,
        pool: CheckedPool,
        watch: Callable[[Progress], None] = lambda progress: None,
        watchdog: Watchdog | None = None,
        pack: int = 1,
    ) -> None:
        self.plan = plan
        self.pool = pool
        self.outcome = Outcome()
        plan.folder.mkdir(parents=True, exist_ok=True)
        self.spending = Spending(plan.total)
        self.ladder = Ladder(plan.fidelity, plan.objectives, plan.constraints, plan.during)
        self.ledger = Ledger(
            plan.folder / "optuna.db",
            plan.name,
            plan.space,
            plan.design,
            plan.objectives,
            plan.seed,
            tuple(constraint.of.name for constraint in plan.constraints),
            self.ladder.until(0),
            plan.store,
            self._heir,
        )
        self._reporter = ProgressReporter(plan, watch, lambda: pool.slots)
        self._groups: dict[str, list[Group]] = {}  # by trial: two candidates may be one and the same
        self._asked: dict[int, Group] = {}  # by the number of its entry
        self._packs = Packs(pack, plan.trial_settings.setting, plan.names.trial, self._reporter.say)
        self.dispatcher: Dispatcher[TrialJob] = Dispatcher(
            pool,
            watchdog or Watchdog(None),
            self._reporter.say,
            name=self._name,
            activity=self._activity,
            smaller=self._smaller,
            resumed="it goes on from its checkpoint",
            more=self._ask,
            ahead=self._ask_ahead,
            together=lambda job, queue, alone: self._packs.form(job, queue, alone, self._ask_ahead),
            opened=lambda job, report: self._packs.open(job, report) if MEMBERS in job else None,
            begin=self._begin,
            tick=self._report,
        )
        self._known: set[str] = set()  # starts of the config_hash of candidates that were taken up
        self._ended: dict[str, Record | None] = {}  # records by trial; None: failed in this run
        self._jobs: dict[str, TrialJob] = {}  # by trial, of those that were queued
        self._paused: set[str] = set()  # trials
        self._baseline = plan.space.complete({})
        self._records: dict[str, Record] = {}  # the same, without what failed
        self._seeds = Seeds(plan.seeding, plan.design, plan.objectives, plan.constraints, self._baseline)
        self._students = Students(plan.folder / "trials")
        self._shared: dict[str, Any] | None = None  # keys of every job, by the preparation; None: it is still to come

    def run(self) -> Outcome:
        """Ask until the design has no more, and until everything that was asked for is measured."""
        with telling(self.plan.say):
            return self._run()

    def _run(self) -> Outcome:
        try:
            (self.plan.folder / ENDED).unlink(missing_ok=True)
            for entry in self.ledger.replay():
                self._open(entry)
            for line in self.ledger.notes:
                self._reporter.say(f"warning: {line}")
            self._enrol()
            for candidate in self._correct_ledger():
                self._reporter.say(f"{candidate}: optuna.db told other values than its records, which count")
            for job, report in self.dispatcher.run():
                self._take(job, report)
            self._correct_ledger()
            self.outcome.short = self.ledger.short() or self._undone() or self._seeds.undone(self.spending.used_up(1))
            self._report(final=True)
            self._write_end()
        finally:
            self.ledger.close()
        return self.outcome

    def _enrol(self) -> None:
        """Add to the ledger the candidates of a search that have records and no entry: it was lost, or is older."""
        if not self.ledger.searches:
            return  # a finite design asks for all of its candidates, and finds their records then
        joined = 0
        for assignment in unlisted(self.plan, self._known):
            self._open(self.ledger.enrol(assignment))
            joined += 1
        for assignment in smaller_budgets(self.plan, self._known):
            if self.spending.used_up(self.plan.design.seeds) is not None:
                break  # these are trained on
            self._open(self.ledger.enrol(assignment))
            joined += 1
        if joined:
            self._reporter.say(f"{joined} candidates have records that optuna.db does not know: they join it")

    def _correct_ledger(self) -> list[str]:
        """Bring the ledger's scores, on which a search builds, to those of the records; return what had others."""
        groups = {id(group): group for group in itertools.chain.from_iterable(self._groups.values())}
        told = [group for group in groups.values() if (group.entry.closed or group.told) and not group.added]
        closed = {group.entry.number: group for group in told if group.at_rest}
        scores = {number: values for number, group in closed.items() if (values := self._scores(group)) is not None}
        return [self.plan.names(closed[number].entry.assignment) for number in self.ledger.correct(scores)]

    def _write_end(self) -> None:
        """Write into the folder that the study is complete, and of how many trials."""
        ended = {"schema": 1, "trials": len(self._groups), "short": self.outcome.short}
        write_json(self.plan.folder / ENDED, sealed(ended))

    def _ask(self) -> bool:
        """Queue the trials of a candidate, once a worker waits for it: a paused one that goes on, or a new one.

        When there is neither, one further seed, where the seeding adds one. Returns False when there is nothing, for
        now or for good.
        """
        if self._promote(closing=False):
            return True
        entry = self.ledger.ask() if self.spending.used_up(self.plan.design.seeds) is None else None
        if entry is not None:
            self._open(entry)
            return True
        if not self.dispatcher.running and self._promote(closing=True):
            return True
        return self.ledger.remaining() == 0 and self._add_seed()

    def _heir(self, number: int) -> str | None:
        """Return the word for the start of a child of a candidate; None where a trial of that has no weights."""
        group = self._asked.get(number)
        if group is None or any(teachers.weights_hash(self.plan.folder / "trials" / t) is None for t in group.trials):
            return None
        return parent_of(group.trials[0])

    def _ask_ahead(self) -> bool:
        """Queue the next candidate before a worker waits for it, where what others measure has no say in it.

        Return whether there was one.
        """
        plan = self.plan
        settled = not self.ledger.searches or not plan.design.learns
        if settled and plan.total is None and not self.ladder.rungs and self.ledger.remaining():
            return self._ask()
        return False

    def _add_seed(self) -> bool:
        """Queue one further seed of a candidate, where the seeding adds one and the study's total leaves room."""
        for group in self._seeds.new(self._groups):
            for seed in self._seeds.further(group):  # that an earlier run has measured
                if not records.is_recorded(self.plan.folder / "trials" / trial_id(group.trials[0], seed)):
                    break
                self._open_seed(group, seed)
        chosen = self._seeds.next() if self.spending.used_up(1) is None else None
        if chosen is not None:
            self._open_seed(*chosen)
        return chosen is not None

    def _open_seed(self, group: Group, seed: int) -> None:
        """Take up one further seed of a candidate: its record, or its job."""
        entry = group.entry
        candidate = self.plan.candidate(entry.whole)
        with doing(f"building the network of {self.plan.names(entry.assignment)}"), contained():
            cost = self.plan.trial_settings.cost(candidate)
        (job,) = self._jobs_of(candidate, entry, cost, 1, seed)
        more = replace(group, trials=(job["trial"],), records={}, pauses={}, rung=len(self.ladder.rungs), added=True)
        self._reporter.forecast.opened(candidate, more.trials)
        self._groups[job["trial"]] = [more]
        self._seeds.add(group, more)
        self._take_up(more, [job], candidate, None)

    def _jobs_of(
        self, candidate: Candidate, entry: Entry, cost: Cost | None, seeds: int, first_seed: int
    ) -> list[TrialJob]:
        """Return the jobs of a candidate, one a seed."""
        plan, trials = self.plan, self.plan.folder / "trials"
        specs = plan.trial_settings.jobs(candidate, seeds, entry.assignment, plan.plugins, trials, cost, first_seed)
        more = {**plan.source_keys(candidate), "device": plan.device, "cache": str(plan.cache)}
        jobs = []
        for job in specs:
            teacher = plan.teacher(candidate, job["seed"])
            jobs.append(trial_job({**job, **more, **({} if teacher is None else {"teacher": teacher})}))
        return jobs

    def _undone(self) -> str | None:
        """Return what the study's total budget left undone; None where there was enough."""
        if waiting := len(self._students.waiting):
            return f"{waiting} trials wait for others to learn from, which were not tried"
        why, candidates = self.spending.used_up(self.plan.design.seeds), self.ledger.remaining()
        if why is None or not (candidates or self.spending.exhausted()):
            return None
        left = [f"{candidates} candidates were not tried"] if candidates else []
        left += ["no paused one went on"] if self._paused and self.spending.exhausted() else []
        return f"the study's total is used up ({why}): {' and '.join(left)}; with more, it goes on" if left else None

    def _promote(self, closing: bool) -> bool:
        """Let a paused candidate go on, where the fidelity has one and the study's total leaves room."""
        group = self.ladder.promote(closing) if self.spending.exhausted() is None else None
        if group is None:
            return False
        until, name = self.ladder.until(group.rung), self.plan.names(group.entry.assignment)
        self.ledger.promote(group.entry, until)
        how_far = "the end of its budget" if until is None else f"{until:.3g} of its budget"
        self._reporter.say(f"{name} goes on, to {how_far}")
        for trial in list(group.pauses):
            for same in self._groups[trial]:  # two candidates may be one and the same
                same.pauses.pop(trial, None)
                same.rung = group.rung
                self.ladder.went_on(same)
            self._paused.discard(trial)
            self._queue(self._jobs[trial], group.rung, self.plan.candidate(group.entry.whole))
        return True

    def _queue(self, job: TrialJob, rung: int, candidate: Candidate) -> None:
        """Queue a trial's job, to a rung."""
        if "estimated_memory_bytes" not in job:
            job = with_memory_estimate(job, candidate, self.plan)
        self._jobs[job["trial"]] = job
        self._packs.know(job, candidate)
        until = self.ladder.until(rung)
        gflops = job.get("train_pass_gflops", job["gflops"]) or 0.0
        images = self.plan.trial_settings.budget.images_for(candidate.batch, gflops) or 0
        self.spending.commit(job["trial"], self._groups[job["trial"]][0].train_gflops * images * (until or 1.0))
        self._submit(job if until is None else {**job, "until": until})

    def _submit(self, job: TrialJob) -> None:
        """Give a job to the workers, once the trial that it learns from, if it has one here, is complete."""
        if self._students.keep(job, self._ended):
            return
        missing = self._students.why_not(job, self._ended)
        if missing is None:
            self.dispatcher.add([job])
            return
        teacher, why = missing
        name = self.plan.names(self._groups[teacher][0].entry.assignment)
        message = f"it learns from {name} of the same seed, which {why}: there are no weights to learn from"
        self._fail(job, {"job": job["job"], "status": "failed", "message": message})

    def _begin(self, job: TrialJob) -> dict[str, Any]:
        """Return the job as it is sent to a worker, with the keys that the preparation gave it, or its members."""
        if MEMBERS in job:
            return {**job, MEMBERS: [self._begin(cast(TrialJob, member)) for member in members(job)]}
        if self._shared is None:
            self._shared = prepare(self.pool, job, self.plan.cache, self._report)
        (Path(job["folder"]) / FAILURE).unlink(missing_ok=True)
        self._reporter.forecast.begun(job["trial"])
        return {**self._shared, **job}

    def _name(self, job: TrialJob) -> str:
        """Return what a job is called in lines for the user."""
        return f"a pack of {len(members(job))} trials" if MEMBERS in job else self.plan.names.trial(job)

    def _activity(self, job: TrialJob) -> str:
        """Return what a trial's worker was doing when it last wrote its progress."""
        if MEMBERS in job:
            return "in any of its trials"
        last = running(job, self.plan.names)
        return f"in phase {last.phase!r}, after {last.images:,} images"

    def _smaller(self, job: TrialJob, report: WorkerReport) -> TrialJob | None:
        """Return a job that needs less memory: half the sampling batch while measuring, else half the micro-batch."""
        name = self.plan.names.trial(job)
        phase = report.get("phase") or running(job, self.plan.names).phase
        if phase == out_of_memory.MEASURE:
            smaller = out_of_memory.half_sampling_batch(job, job["evaluation"])
            if smaller is not None:
                count = smaller["sampling_batch"]
                self._reporter.say(f"{name}: out of memory while it was measured; {count} samples at a time")
            return smaller
        smaller = out_of_memory.half_micro_batch(job)
        if smaller is None:
            return None
        self._reporter.say(f"{name}: out of memory; micro-batch {smaller['micro']}, the same batch in all")
        candidate = self.plan.candidate(self._groups[job["trial"]][0].entry.whole)
        return with_memory_estimate(smaller, candidate, self.plan)

    def _open(self, entry: Entry) -> None:
        """Take up a candidate: count those of its seeds that are measured already, and queue the others."""
        plan, name = self.plan, self.plan.names(entry.assignment)
        try:
            with doing(f"putting {name} together"):
                candidate = plan.candidate(entry.whole)
        except SpecError as error:
            self._refuse(entry, error.message)
            return
        cost, build_error = None, None
        try:
            with doing(f"building the network of {name}"), contained():
                plan.try_build(candidate)
                cost = plan.trial_settings.cost(candidate)
        except Exception as error:  # noqa: BLE001 - a plugin's own code, built here for the first time
            build_error = error
        problem = None if cost is None or entry.closed else self._broken_constraints(entry, cost)
        if problem is not None:
            self._refuse(entry, problem)
            return
        jobs = self._jobs_of(candidate, entry, cost, plan.design.seeds, plan.design.first_seed)
        new = [job for job in jobs if job["trial"] not in self._groups]
        if self.ledger.searches and not new:  # another assignment that gives the same candidate
            self.ledger.repeat(entry)
            return
        gflops = 0.0
        if cost is not None and self.spending.counts_training:
            gflops = counted_train_gflops(candidate, cost, plan)
        group = Group(entry, tuple(job["trial"] for job in jobs), rung=self._first_rung(entry), train_gflops=gflops)
        self._reporter.forecast.opened(candidate, group.trials)
        self._asked[entry.number] = group
        for trial in group.trials:
            self._groups.setdefault(trial, []).append(group)
            self._known.add(trial.partition("-")[0])
            if trial in self._ended:
                group.records[trial] = self._ended[trial]
        self._take_up(group, new, candidate, build_error)
        if not new:
            self._close(group)

    def _take_up(
        self, group: Group, jobs: Sequence[TrialJob], candidate: Candidate, build_error: Exception | None
    ) -> None:
        """Take the records of a candidate's trials, leave at rest what is paused at its rung, and queue the others."""
        waiting = []
        for job in jobs:
            record = records.take(Path(job["folder"]), job, self._reporter.say) or self.plan.borrow(job)
            if record is not None:
                self.outcome.reused += 1
                self._end(job["trial"], records.named_anew(Path(job["folder"]), record, job["choices"]))
            elif build_error is not None:
                self._fail(job, failure_report(job, build_error))
            else:
                waiting.append(trial_job({**job, **self.plan.prolong(job, candidate)}))
        pauses = {job["trial"]: self._pause_of(job) for job in waiting}
        reached = [self.ladder.passed(pause) for pause in pauses.values() if pause is not None]
        group.rung = max([group.rung, *(rung for rung in reached if rung is not None)])
        for job in waiting:
            pause = pauses[job["trial"]]
            if pause is not None and self.ladder.passed(pause) == group.rung:
                self.outcome.reused += 1
                self._pause(job, pause)
            else:
                self._queue(job, group.rung, candidate)

    def _pause_of(self, job: TrialJob) -> Record | None:
        """Return what was measured of a trial that is paused; None where it is not, or nobody pauses in this study."""
        if not self.ladder.rungs:
            return None
        folder = Path(job["folder"])
        record = records.take(folder, job, self._reporter.say, records.PAUSE)
        return None if record is None else records.named_anew(folder, record, job["choices"])

    def _first_rung(self, entry: Entry) -> int:
        """Return the rung to which a candidate is trained now; the baseline, which all is compared with, to the end."""
        if entry.assignment == self._baseline:
            return len(self.ladder.rungs)
        return 0 if entry.until is None else self.ladder.rung_of(entry.until)

    def _refuse(self, entry: Entry, why: str) -> None:
        self.outcome.refused += 1
        self._reporter.say(f"refused {self.plan.names(entry.assignment)}: {why}")
        self.ledger.refuse(entry, why)

    def _broken_constraints(self, entry: Entry, cost: Cost) -> str | None:
        """Return why a candidate of a search is not worth a training: its cost breaks a constraint. None where not.

        The baseline is trained all the same, and so is everything that a finite design lists.
        """
        values = {c: getattr(cost, c.of.column) for c in self.plan.constraints if c.of.column in STATIC}
        broken = [f"{c.of.name} of {value:.4g}" for c, value in values.items() if c.excess(value) > 0]
        space = self.plan.space
        if not broken or space.proposals(self.plan.design) is not None or entry.assignment == self._baseline:
            return None
        return f"its {', '.join(broken)} break a constraint"

    def _take(self, job: TrialJob, report: WorkerReport) -> None:
        """Take in a trial that has ended for good: measured, diverged or failed."""
        trial = job["trial"]
        states = (records.PAUSED,) if report["status"] == "paused" else records.STATES
        if report["status"] not in ("done", "diverged", "paused"):
            self._fail(job, report)
        elif (problem := records.fault(report.get("record"), trial, job, states)) is not None:
            message = f"what its worker reported {problem}"
            self._fail(job, {"job": job["job"], "status": "failed", "message": message})
        else:
            record = record_in_folder(job, report, self.plan.names.trial(job), self._reporter.say)
            self._reporter.say(self._describe(record, job.get("until")))
            if report["status"] == "paused":
                self._pause(job, record)
            else:
                self.outcome.measured += 1
                self._end(trial, record)

    def _pause(self, job: TrialJob, record: Record) -> None:
        """Take in that a trial is paused, with what it was measured at until then."""
        trial = job["trial"]
        self._jobs[trial] = {**job, "until": None}  # after out of memory with the micro-batch that it needs
        self._paused.add(trial)
        self.spending.take(trial, record, self._groups[trial][0].train_gflops)
        for group in self._groups[trial]:
            group.pauses[trial] = record
            self._close(group)

    def _fail(self, job: TrialJob, report: WorkerReport) -> None:
        message = report.get("message", report["status"])
        self.outcome.failed += 1
        self._reporter.say(f"{self.plan.names.trial(job)} failed: {message} ({job['trial']})")
        write_failure(job, report, self.dispatcher.attempts(job["trial"]))
        self._end(job["trial"], None)

    def _end(self, trial: str, record: Record | None) -> None:
        self._ended[trial] = record
        if record is not None:
            self._records[trial] = record
            self.spending.take(trial, record, self._groups[trial][0].train_gflops)
            self.outcome.diverged += record["state"] == "diverged"
        for group in self._groups[trial]:
            group.records[trial] = record
            self._close(group)
        for job in self._students.release(trial):
            self._submit(job)

    def _close(self, group: Group) -> None:
        """Take in the scores of a candidate, once all its seeds have ended or are paused; tell the ledger the first."""
        if group.added or not group.at_rest:
            return
        if group.entry.assignment != self._baseline:  # it goes to its end, and takes nobody's place
            self.ladder.stand(group)
        if group.entry.closed or group.told:
            return
        group.told = True
        if group.diverged:
            self.ledger.tell(group.entry, self.ledger.worst(), dict.fromkeys(self.ledger.constraints, WORST))
        else:
            self.ledger.tell(group.entry, self._scores(group), self.ladder.excess(group))

    def _scores(self, group: Group) -> list[float] | None:
        """Return one number an objective, the worst possible where a trial diverged; None where one is missing.

        A search learns from the first rung alone: all candidates come there, and what they have there compares.
        """
        return self.ledger.worst() if group.diverged else self.ladder.scores(group, 0)

    def _describe(self, record: Record, until: float | None) -> str:
        name = self.plan.names.trial(record)
        if (divergence := record.get("divergence")) is not None:
            return f"{name}: diverged at step {divergence['step']}: {divergence['message']}"
        if record["state"] == records.PAUSED:
            return f"{name}: paused after {record['images']:,} images at {self.ladder.describe(record, until)}"
        values = [f"{o.name} {v:.4g}" for o in self.plan.objectives if (v := o.value(record)) is not None]
        skipped = f", {record['skipped_steps']} steps skipped" if record.get("skipped_steps") else ""
        compiled = record.get("compile")
        uncompiled = f", not compiled: {compiled['eager']}" if compiled and compiled["eager"] else ""
        capture = record.get("capture")
        plain = f", plain step: {capture['plain']}" if capture and capture["plain"] else ""
        sampling = capture.get("sampling") if capture else None
        if capture and sampling and sampling["plain"] not in (None, capture["plain"]):
            plain += f", plain samples: {sampling['plain']}"
        return f"{name}: {', '.join(values)} ({record['seconds']:.0f} s{skipped}{uncompiled}{plain})"

    def _report(self, final: bool = False) -> None:
        trials, paused = len(self._groups), len(self._paused)
        queued = [*(job["trial"] for job in self.dispatcher.queue), *self._students.waiting]
        self._reporter.report(self.ledger, self.dispatcher, queued, trials, self._records, self.outcome, final, paused)
