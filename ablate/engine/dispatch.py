"""The dispatcher: a work queue over a pool of workers, with retries, a watchdog, and remedies for out of memory.

`ablate run` and `ablate evaluate` are driven by this one loop. What it decides:

- A job whose worker was lost (killed, preempted, its node gone) is tried again, `RETRIES` times.
- A job that ran out of memory beside others is tried again alone, with nothing beside it; one that ran alone is tried
  again smaller (half the micro-batch, half the sampling batch), as long as it can be made smaller.
- A job that gives no sign of life (heartbeat) for too long, or takes longer than it may, is killed, and has failed.
- A full disk, other source code and other data end the run.

Everything else is for good: the caller gets the job and its report.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from ablate.engine.checked_pool import CheckedPool
from ablate.engine.watchdog import LATE, Watchdog
from ablate.spec.quantities import format_seconds
from ablate.worker.messages import WorkerReport
from ablate.worker.reports import raise_if_fatal

TICK = 0.25  # seconds between two looks at the workers
RETRIES = 5  # times that a job is tried again after its worker was lost

J = TypeVar("J", bound=Mapping[str, Any])
Opened = tuple[list[tuple[J, WorkerReport]], list[J]]


class Dispatcher(Generic[J]):
    """Runs jobs on a pool of workers until there are no more.

    A job is a mapping with its unique name at `job` and the folder that its worker writes to at `folder`.

    say: takes lines for the user.
    name: what a job is called in them.
    activity: what a job was at, when it gave no sign of life: `while it was measured`.
    smaller: the job that needs less memory than this one did, by its report; None where there is none.
    resumed: what a job that was lost does when it runs again.
    more: called when a worker is free and the queue is empty; it may add jobs, and is False when there are no more.
    ahead: called when the workers, processes of their own, are busy and the queue is empty; it may add jobs, so that
        one is ready.
    together: called with a job that is about to begin, the queue, and the jobs that are to run alone; gives the job, or
        one of several jobs that it takes from the queue (a pack).
    opened: gives, of a pack that has ended, its jobs with their reports, and those to queue again; None of any other.
    begin: called when a job is handed to a worker; gives the job as it is sent.
    tick: called at every look at the workers.
    """

    def __init__(
        self,
        pool: CheckedPool,
        watchdog: Watchdog,
        say: Callable[[str], None],
        *,
        name: Callable[[J], str],
        activity: Callable[[J], str],
        smaller: Callable[[J, WorkerReport], J | None],
        resumed: str,
        more: Callable[[], bool] = lambda: False,
        ahead: Callable[[], object] = lambda: None,
        together: Callable[[J, deque[J], Collection[str]], J] = lambda job, queue, alone: job,
        opened: Callable[[J, WorkerReport], Opened[J] | None] = lambda job, report: None,
        begin: Callable[[J], Mapping[str, Any]] = lambda job: job,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._watchdog = watchdog
        self._say = say
        self._name = name
        self._activity = activity
        self._smaller = smaller
        self._resumed = resumed
        self._more = more
        self._ahead = ahead
        self._together = together
        self._opened = opened
        self._begin = begin
        self._tick = tick
        self.queue: deque[J] = deque()
        self.running: dict[str, J] = {}  # by the job's name
        self._lost: Counter[str] = Counter()  # how often a job's worker was lost
        self._alone: set[str] = set()  # jobs that are to run with nothing beside them
        self._shared: set[str] = set()  # running jobs that had another one beside them at some time

    def add(self, jobs: Iterable[J]) -> None:
        """Append jobs to the queue."""
        self.queue.extend(jobs)

    def attempts(self, job: str) -> int:
        """Return how often a job was tried: once, and again for each time that its worker was lost."""
        return 1 + self._lost[job]

    def run(self) -> Iterator[tuple[J, WorkerReport]]:
        """Run everything; yield each job with its report, once it has ended for good.

        Raises OSError where a disk is full, and InputError where a worker found other source code or other data.
        """
        self._fill()
        while self.running:
            if self._pool.apart and not self.queue:
                self._ahead()
            for report in self._pool.wait(TICK):
                job = self.running.pop(report["job"])
                ended, again = self._opened(job, report) or ([(job, report)], [])
                self.queue.extendleft(reversed(again))
                for one, its_report in ended:
                    if not self._retry(one, its_report):
                        yield one, its_report
            self._fill()
            for line in self._pool.news():
                self._say(line)
            self._end_overdue()
            self._tick()

    def _fill(self) -> None:
        """Give every free worker a job."""
        while len(self.running) < self._pool.slots:
            if not self.queue:
                if not self._more():
                    return
                continue
            exclusive = self.queue[0]["job"] in self._alone or not self._alone.isdisjoint(self.running)
            if exclusive and self.running:
                return
            job = self.queue.popleft()
            self._submit(job if exclusive else self._together(job, self.queue, self._alone))

    def _submit(self, job: J) -> None:
        complete_job = self._begin(job)
        key = job["job"]
        self._shared.discard(key)
        if self.running:
            self._shared.update(self.running, [key])
        self.running[key] = job
        self._watchdog.begun(job)
        self._pool.submit(complete_job)

    def _retry(self, job: J, report: WorkerReport) -> bool:
        """Queue a job again where that may help, and return whether it did. Raises what ends the run."""
        key, name = job["job"], self._name(job)
        if report["status"] == "lost" and self._lost[key] < RETRIES:
            self._lost[key] += 1
            self._say(f"{name}: its worker was lost; {self._resumed}")
            self.queue.appendleft(job)
            return True
        if report["status"] == "oom" and key in self._shared:
            self._alone.add(key)
            self._say(f"{name}: out of memory beside others; again later, alone")
            self.queue.append(job)
            return True
        if report["status"] == "oom" and (smaller := self._smaller(job, report)) is not None:
            self.queue.appendleft(smaller)
            return True
        if report["status"] not in ("done", "diverged", "paused"):
            raise_if_fatal(report, Path(job["folder"]))
        return False

    def _end_overdue(self) -> None:
        """End the jobs that hang, or take longer than they may: the others go on without them."""
        for key, (reason, seconds) in self._watchdog.to_end(self.running).items():
            job = self.running[key]
            if reason == LATE:
                why = f"not done after {format_seconds(seconds)} {self._activity(job)}"
                message = f"{why}: `executor.limits.trial` gives it no more"
            else:
                why = f"no sign of life for {seconds:.0f} s {self._activity(job)}"
                advice = "a plugin's code that waits for ever, or a step that is longer than `executor.patience` [s]"
                message = f"{why}: {advice}"
            if not self._pool.abandon(key, message):
                self._say(f"warning: {self._name(job)}: {why}; this executor cannot end it")
