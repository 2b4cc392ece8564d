"""The executor `replay`: answers trials from a recorded table, with simulated workers and a simulated clock.

Nothing is trained and nobody waits: a study runs in the time that the engine itself takes, so that designs, samplers,
fidelities and numbers of seeds are compared on the same measurements, and with more workers than there are machines.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

from ablate.errors import InputError
from ablate.io.files import write_json
from ablate.io.sealed import sealed
from ablate.kinds.executor import Executor, Job, Pool, Report
from ablate.spec.component import Extent
from ablate.worker import records
from ablate.worker.messages import Record
from ablate.worker.recorded import HOST, RecordedTable


class Replay(Executor):
    """Answers each trial from a table that `ablate.record` made, after the seconds that it took, on a simulated clock.

    A trial is found by its config_hash and seed, so the study's data, budget, base and metrics have to be those of the
    table, and its points of training (`evaluate.at`, a fidelity's rungs) among those recorded. Values are those that
    were recorded, never interpolated; what was not recorded fails. Records say that they were replayed, and when they
    ended on the simulated clock.
    """

    name = "replay"
    by_url: ClassVar[Literal["here", "there"] | None] = "here"
    preference: ClassVar[int] = -1  # never chosen by itself
    measures: ClassVar[bool] = False

    table: Annotated[str, Extent()]  # the table's file, relative to the study's

    def refuse_trials(self, job: Job) -> str | None:
        """Return why no trial of a job's study is in the table; None where some may be."""
        reason = self._recorded().refuse(job)
        return None if reason is None else f"cannot be replayed from {self.table}: {reason}"

    def start(self, work: str, device: str) -> Pool:
        """Start a pool of simulated workers, one without `workers`. Raises InputError where there is no such table."""
        return ReplayPool(self._recorded(), self.workers or 1)

    def _recorded(self) -> RecordedTable:
        return RecordedTable(self.located(self.table))


@dataclass(order=True)
class _End:
    """The end of a job, on the simulated clock; of several at one time, that which began first comes first."""

    time: float
    number: int
    job: Job = field(compare=False)
    report: Report = field(compare=False)


class ReplayPool(Pool):
    """A pool of simulated workers; the clock goes on to the next end whenever it is waited for.

    clock: simulated seconds since the study began; a folder that is resumed goes on at its last end.
    """

    def __init__(self, table: RecordedTable, slots: int) -> None:
        self.slots = slots
        self.clock = 0.0
        self._table = table
        self._ends: list[_End] = []  # a heap
        self._running: set[str] = set()
        self._count = 0  # jobs that were submitted

    def submit(self, job: Job) -> None:
        """See `Pool.submit`. A trial ends after the seconds that it took, less those before it was paused."""
        name = job["job"]
        if name in self._running or len(self._running) >= self.slots:
            raise RuntimeError(f"job {name!r} cannot start: {len(self._running)} of {self.slots} slots are taken")
        seconds, report = self._answer(job)
        self._running.add(name)
        self._count += 1
        heapq.heappush(self._ends, _End(self.clock + seconds, self._count, job, report))

    def wait(self, timeout: float) -> Sequence[Report]:
        """Return the report of the job that ends next, and put the clock there; it takes no time."""
        if not self._ends:
            return []
        end = heapq.heappop(self._ends)
        self.clock = end.time
        self._running.discard(end.job["job"])
        if "record" in end.report:
            end.report["record"] = self._written(end)  # type: ignore[typeddict-unknown-key]
        return [end.report]

    def close(self) -> None:
        """Forget what runs: it runs again when the study is resumed."""
        self._ends.clear()
        self._running.clear()

    def _answer(self, job: Job) -> tuple[float, Report]:
        """Return the simulated seconds that a job takes, and its report."""
        name = job["job"]
        if job.get("prepare"):
            self.clock = max(self.clock, _last_end(Path(job["folder"]).parent))
            return 0.0, cast(Report, {"job": name, "status": "done", "host": HOST})
        if "asked" in job:
            message = "a replayed trial has no network that could be measured again"
            return 0.0, {"job": name, "status": "failed", "message": message}
        try:
            record = self._table.record(job)
        except InputError as error:
            return 0.0, {"job": name, "status": "failed", "message": str(error)}
        pause = records.read_valid(Path(job["folder"]), records.PAUSE)
        spent = 0.0 if pause is None else float(pause["seconds"])
        report = {"job": name, "status": records.STATUS[record["state"]], "record": record, "host": HOST}
        return max(record["seconds"] - spent, 0.0), cast(Report, report)

    def _written(self, end: _End) -> Record:
        """Write into a trial's folder what a worker would, and return the record as it is written."""
        folder, record = Path(end.job["folder"]), cast(Record, end.report["record"])  # type: ignore[typeddict-item]
        if record["state"] == records.PAUSED:
            write_json(folder / records.JOB, sealed(end.job), durable=False)
        return records.write(folder, {**record, "simulated_end": end.time}, {records.JOB: dict(end.job)})


def _last_end(trials: Path) -> float:
    """Return the last simulated end of the trials of a folder; 0 where none was replayed."""
    found = [records.read_valid(trial) for trial in records.recorded(trials.parent)]
    found += [records.read_valid(file.parent, file.name) for file in trials.glob(f"*/{records.PAUSE}")]
    return max((record.get("simulated_end", 0.0) for record in found if record is not None), default=0.0)
