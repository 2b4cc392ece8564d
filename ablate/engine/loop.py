"""Ask, submit, tell: candidates from the ledger, their seeds to the workers, what they found back again."""

from __future__ import annotations

import json
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.candidate import Candidate
from ablate.engine.ledger import Asked, Ledger
from ablate.errors import InputError, SpecError
from ablate.files import read_json, write_json
from ablate.kinds.design import Assignment, Design
from ablate.kinds.executor import Pool, Report
from ablate.space import Space
from ablate.trial import Objective, Question

TICK = 0.25  # seconds between two looks at the workers
LOST = 5  # times that a trial is taken up again after its worker was lost


@dataclass(frozen=True)
class Plan:
    """Everything that the engine needs to know of a study."""

    name: str
    folder: Path
    space: Space
    design: Design
    question: Question
    objectives: tuple[Objective, ...]
    candidate: Callable[[Assignment], Candidate]  # raises SpecError for what does not fit together
    plugins: tuple[str, ...]
    device: str  # "cpu" or "cuda"
    cache: Path
    seed: int


@dataclass(frozen=True)
class Running:
    """A trial that is being worked on, as its worker last told."""

    trial: str
    label: str
    seed: int
    phase: str
    images: int
    total: int | None
    loss: float | None
    images_per_second: float | None


@dataclass(frozen=True)
class Progress:
    """Where a study stands, for whoever watches."""

    total: int  # trials, as far as is known
    done: int
    failed: int
    diverged: int
    running: tuple[Running, ...]
    seconds_left: float | None
    records: Mapping[str, Mapping[str, Any]]  # of the trials that are measured
    lines: tuple[str, ...]  # what happened since the last time


@dataclass
class Outcome:
    """How a run of the engine ended."""

    measured: int = 0
    reused: int = 0
    diverged: int = 0
    failed: int = 0
    refused: int = 0


@dataclass
class _Group:
    """One candidate and its seeds."""

    asked: Asked
    jobs: dict[str, dict[str, Any]]  # by trial
    records: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # None: failed

    @property
    def complete(self) -> bool:
        return len(self.records) == len(self.jobs)


class Engine:
    """Runs a study to its end. Nothing that was measured is measured again."""

    def __init__(self, plan: Plan, pool: Pool, watch: Callable[[Progress], None] = lambda progress: None) -> None:
        self.plan = plan
        self.pool = pool
        self.watch = watch
        self.outcome = Outcome()
        plan.folder.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(plan.folder / "optuna.db", plan.name, plan.space, plan.design, plan.objectives, plan.seed)
        self._groups: dict[str, list[_Group]] = {}  # by trial: two candidates may be one and the same
        self._queue: deque[dict[str, Any]] = deque()
        self._running: dict[str, dict[str, Any]] = {}
        self._records: dict[str, dict[str, Any]] = {}
        self._lost: dict[str, int] = {}
        self._alone: set[str] = set()  # trials that are to run with nothing beside them
        self._crowded: dict[str, bool] = {}  # whether something ran beside a trial
        self._lines: list[str] = []
        self._prepared = False
        self._begun = time.monotonic()
        self._watched = 0.0

    def run(self) -> Outcome:
        """Ask until the design has no more, and until everything that was asked for is measured."""
        try:
            for asked in self.ledger.replay():
                self._open(asked)
            self._fill()
            while self._running:
                for report in self.pool.wait(TICK):
                    self._take(report)
                self._fill()
                self._tell_watch()
            self._tell_watch(last=True)
        finally:
            self.ledger.close()
        return self.outcome

    def _fill(self) -> None:
        """Give every free worker a job; a candidate is asked for only when a worker waits for it."""
        while len(self._running) < self.pool.slots:
            if not self._queue and not self._ask():
                return
            if not self._queue:
                continue
            job = self._queue[0]
            exclusive = job["trial"] in self._alone or any(trial in self._alone for trial in self._running)
            if exclusive and self._running:
                return
            self._queue.popleft()
            if not self._prepared:
                self._prepare(job)
            self._submit(job)

    def _prepare(self, job: Mapping[str, Any]) -> None:
        """What all trials share (cached data, the reference's features) is made once, before the first of them."""
        self._prepared = True
        self.pool.submit({**job, "job": "prepare", "prepare": True})
        while True:
            for report in self.pool.wait(TICK):
                if report["status"] == "done":
                    return
                raise InputError(f"the data could not be prepared: {report['message']}\n{report.get('traceback', '')}")
            self._tell_watch()

    def _submit(self, job: dict[str, Any]) -> None:
        trial = job["trial"]
        (Path(job["folder"]) / "failure.json").unlink(missing_ok=True)
        for other in self._running:
            self._crowded[other] = True
        self._crowded[trial] = bool(self._running)
        self._running[trial] = job
        self.pool.submit(job)

    def _ask(self) -> bool:
        asked = self.ledger.ask()
        if asked is None:
            return False
        self._open(asked)
        return True

    def _open(self, asked: Asked) -> None:
        """Take up a candidate: its seeds that are measured already count, the others are queued."""
        plan = self.plan
        try:
            candidate = plan.candidate(asked.assignment)
        except SpecError as error:
            self.outcome.refused += 1
            self._lines.append(f"refused {_label(asked.assignment)}: {error.message}")
            self.ledger.tell(asked, None)
            return
        group = _Group(asked, {})
        for seed in range(plan.design.seeds):
            job = plan.question.job(candidate, seed, asked.assignment, plan.plugins, plan.folder / "trials")
            group.jobs[job["trial"]] = {**job, "device": plan.device, "cache": str(plan.cache)}
        for trial, job in group.jobs.items():
            known = trial in self._groups
            self._groups.setdefault(trial, []).append(group)
            if trial in self._records:
                group.records[trial] = self._records[trial]
            elif not known and (record := _read_record(Path(job["folder"]))) is not None:
                self.outcome.reused += 1
                self._records[trial] = record
                group.records[trial] = record
            elif not known:
                self._queue.append(job)
        self._close(group)

    def _take(self, report: Report) -> None:
        """One job ended, in one of the ways that it can."""
        trial = report["job"]
        job = self._running.pop(trial)
        match report["status"]:
            case "done" | "diverged":
                record = report["record"]
                self._records[trial] = record
                self.outcome.measured += 1
                self._lines.append(self._describe(record))
                self._settle(trial, record)
            case "lost" if self._lost.get(trial, 0) < LOST:
                self._lost[trial] = self._lost.get(trial, 0) + 1
                self._lines.append(f"{trial}: its worker was lost; it goes on from its checkpoint")
                self._queue.appendleft(job)
            case "oom" if self._crowded.get(trial):
                self._alone.add(trial)
                self._lines.append(f"{trial}: out of memory beside others; again later, alone")
                self._queue.append(job)
            case "oom" if (micro := _halved(job)) >= 1:
                self._lines.append(f"{trial}: out of memory; micro-batch {micro}, the same batch in all")
                self._queue.appendleft({**job, "micro": micro})
            case status:
                self._fail(job, report, status)

    def _fail(self, job: Mapping[str, Any], report: Report, status: str) -> None:
        trial = job["trial"]
        self.outcome.failed += 1
        self._lines.append(f"{trial} failed: {report.get('message', status)}")
        kept = ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")
        failure = {
            "schema": 1,
            **{key: job[key] for key in kept},
            "state": "failed",
            "class": status,
            "message": report.get("message", ""),
            "traceback": report.get("traceback"),
            "attempts": 1 + self._lost.get(trial, 0),
        }
        write_json(Path(job["folder"]) / "failure.json", failure)
        self._settle(trial, None)

    def _settle(self, trial: str, record: dict[str, Any] | None) -> None:
        if record is not None and record["state"] == "diverged":
            self.outcome.diverged += 1
        for group in self._groups[trial]:
            group.records[trial] = record
            self._close(group)

    def _close(self, group: _Group) -> None:
        """Tell the ledger what a candidate is worth, once all its seeds have ended."""
        if not group.complete or group.asked.told:
            return
        records = [record for record in group.records.values() if record is not None]
        if any(record["state"] == "diverged" for record in records):
            self.ledger.tell(group.asked, self.ledger.worst())
            return
        values = [self._mean(objective, records) for objective in self.plan.objectives]
        told = [value for value in values if value is not None]
        self.ledger.tell(group.asked, told if records and len(told) == len(values) else None)

    def _mean(self, objective: Objective, records: Sequence[Mapping[str, Any]]) -> float | None:
        found = [value for record in records if (value := objective.value(record)) is not None]
        return statistics.fmean(found) if found else None

    def _describe(self, record: Mapping[str, Any]) -> str:
        at = f"{_label(record['choices'])}, seed {record['seed']}"
        if record["state"] == "diverged":
            found = record["divergence"]
            return f"{at}: diverged at step {found['step']}: {found['message']}"
        shown = [f"{o.name} {v:.4g}" for o in self.plan.objectives if (v := o.value(record)) is not None]
        return f"{at}: {', '.join(shown)} ({record['seconds']:.0f} s)"

    def _tell_watch(self, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._watched < TICK:
            return
        self._watched = now
        total = max(len(self._groups), self.ledger.total() * self.plan.design.seeds)
        ended = self.outcome.measured + self.outcome.failed
        left = None
        if ended and not last:
            left = (now - self._begun) / ended * max(total - ended - self.outcome.reused, 0)
        lines, self._lines = tuple(self._lines), []
        running = tuple(_progress(job) for job in self._running.values())
        state = self.outcome
        self.watch(
            Progress(total, len(self._records), state.failed, state.diverged, running, left, self._records, lines)
        )


def _label(choices: Mapping[str, Any]) -> str:
    shown = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in choices.values())
    return ", ".join(shown) or "baseline"


def _halved(job: Mapping[str, Any]) -> int:
    """Half of the micro-batch; 0 where it cannot be halved any more."""
    return int(job.get("micro") or job["candidate"]["batch"]) // 2


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = read_json(folder / "record.json")
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return record


def _progress(job: Mapping[str, Any]) -> Running:
    try:
        told = read_json(Path(job["folder"]) / "progress.json")
    except (FileNotFoundError, json.JSONDecodeError):
        told = {}
    return Running(
        job["trial"],
        _label(job["choices"]),
        job["seed"],
        told.get("phase", "start"),
        told.get("images", 0),
        told.get("total"),
        told.get("loss"),
        told.get("images_per_second"),
    )
