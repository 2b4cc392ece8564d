"""The executor `local`: one job at a time in one other process of this machine, without Ray.

A process of its own, so that nothing that a trial's code does ends the driver or keeps it waiting: an
exit, a crash in native code, a loop without an end. It is started once and serves all jobs, as
importing torch takes seconds, and anew should it die; that job is then reported as lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Annotated, ClassVar, Literal, Self

from pydantic import model_validator

from ablate.errors import InputError
from ablate.execute import work as jobs
from ablate.execute.child import GRACE, SIGNALS
from ablate.execute.memory_limit import resident, too_much
from ablate.execute.pool import QueuePool
from ablate.kinds.executor import Executor, Pool, Report
from ablate.spec.component import Extent

_READY: list[Child] = []  # worker processes that no pool has yet
TRACE = 10.0  # seconds that a worker that hangs gets to say where
CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ablate.execute.child import main; main()"  # no
    # `-m`, which would find another `ablate` than the driver's where that changed its `sys.path`
)


class Local(Executor):
    """Runs one job at a time, in a process beside the driver: for small studies, and where Ray is not installed."""

    name = "local"
    by_url: ClassVar[Literal["here", "there"] | None] = "here"
    preference: ClassVar[int] = 0
    packs: ClassVar[bool] = True

    in_process: Annotated[bool, Extent()] = False  # in the driver itself, for a debugger: then a crash ends both

    @model_validator(mode="after")
    def _one_worker(self) -> Self:
        if self.workers not in (None, 1):
            raise ValueError("the executor 'local' runs one job at a time: leave `workers` out, or use 'ray'")
        if self.in_process and self.limits is not None:
            raise ValueError("what runs in the driver itself cannot be ended: leave `in_process` or `limits` out")
        return self

    @contextlib.contextmanager
    def getting_ready(self, work: str) -> Iterator[None]:
        """Start the worker process, which imports what it needs meanwhile; `start` takes it."""
        if self.in_process or not hasattr(signal, "pthread_sigmask"):
            yield
            return
        try:
            child = Child(work)
        except OSError:  # told where it is needed: what is wrong with the study comes first
            yield
            return
        _READY.append(child)
        try:
            yield
        finally:
            if child in _READY:
                _READY.remove(child)
                child.close(grace=0)

    def start(self, work: str, device: str) -> Pool:
        """Start a pool with one slot, whatever the device. Raises InputError where the system has no POSIX signals."""
        if not hasattr(signal, "pthread_sigmask"):
            raise InputError("studies are run on Linux or macOS; on Windows, run this in WSL")
        if self.in_process:
            return InProcessPool(work)
        ready = next((child for child in _READY if child.work == work), None)
        if ready is not None:
            _READY.remove(ready)
        return LocalPool(work, ready, self.memory)


class LocalPool(QueuePool):
    """A pool of one worker process, which is replaced when it dies.

    child: one that is there already. memory: bytes that a job may have resident.
    """

    apart = True

    def __init__(self, work: str, child: Child | None = None, memory: int | None = None) -> None:
        super().__init__(slots=1, threads=None)
        self._work = work
        self._memory = memory
        self._child = child or Child(work)

    def _begin(self, name: str, job: str) -> None:
        while not self._child.begin(name, job, self._ended):
            self._child.close()
            self._child = Child(self._work)

    def wait(self, timeout: float) -> list[Report]:
        """See `Pool.wait`. A job that has more memory than it may is ended."""
        if self._memory is not None:
            self._child.limit(self._memory)
        return super().wait(timeout)

    def abandon(self, job: str, why: str) -> bool:
        """See `Pool.abandon`; the report says where in the code it hung."""
        return self._child.abandon(job, why)

    def _end(self) -> None:
        self._child.close()


class Child:
    """A worker process, and the thread that reads its reports."""

    def __init__(self, work: str) -> None:
        self.work = work
        self._lock = threading.Lock()
        self._job: str | None = None  # what it works on; who takes it out reports on it
        self._ended: SimpleQueue[str] = SimpleQueue()  # to whom
        self._gone = False
        self._faults = tempfile.TemporaryFile()  # noqa: SIM115 - the child writes to it when it crashes
        path = json.dumps([entry or os.getcwd() for entry in sys.path])  # noqa: PTH109 - what "" stands for
        command = [sys.executable, "-c", CODE, path, work, str(os.getpid()), str(self._faults.fileno())]
        with signals_deferred():
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[self._faults.fileno()],
                text=True,
                encoding="utf-8",
            )
        self._reader = threading.Thread(target=self._read, name="ablate-local", daemon=True)
        self._reader.start()

    def begin(self, name: str, job: str, ended: SimpleQueue[str]) -> bool:
        """Hand a job to the process, whose report goes to `ended`; False where the process is dead."""
        with self._lock:
            if self._gone:
                return False
            self._job, self._ended = name, ended
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it died just now: `_read` reports that
            self._process.stdin.write(f"{job}\n")
            self._process.stdin.flush()
        return True

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as reports:
            for line in reports:
                if line.endswith("\n") and self._take_job():
                    self._ended.put(line)
        code = self._process.wait()
        with self._lock:
            self._gone = True
        if (job := self._take_job()) is not None:
            self._ended.put(jobs.lost(job, f"the worker process died: {_describe_exit(code)}", self._fault()))

    def _take_job(self) -> str | None:
        with self._lock:
            job, self._job = self._job, None
            return job

    def abandon(self, job: str, why: str) -> bool:
        """Kill the process in the midst of a job, which counts as failed."""
        with self._lock:
            if self._job != job:
                return False
            self._job = None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
        end, trace, before = time.monotonic() + TRACE, "", ""
        while not trace or trace != before:  # it is written bit by bit: wait until no more comes
            time.sleep(0.2)
            trace, before = self._fault(), trace
            if time.monotonic() > end or self._process.poll() is not None:
                break
        self._kill()
        self._ended.put(jobs.ended(job, why, self._fault()))
        return True

    def limit(self, memory: int) -> bool:
        """End the job where the process, and those that it has started, have more bytes resident; return whether."""
        name = self._job
        if name is None or (used := resident(self._process.pid)) <= memory or self._take_job() != name:
            return False
        self._kill()
        self._ended.put(jobs.oom(name, too_much(used, memory)))
        return True

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        with self._lock:
            self._gone = True

    def ask_to_stop(self) -> None:
        """Ask it to stop at its next step; it reports how its job ended, and exits."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _fault(self) -> str:
        """Return the traceback that faulthandler wrote; most recent call first."""
        size = os.fstat(self._faults.fileno()).st_size
        return os.pread(self._faults.fileno(), size, 0).decode(errors="replace")

    def close(self, grace: float = GRACE) -> None:
        """Ask it to stop, wait so many seconds for its checkpoint, kill it.

        An exception meanwhile (Ctrl-C again) kills it at once.
        """
        self._take_job()
        assert self._process.stdin is not None
        try:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._faults.close()


class InProcessPool(QueuePool):
    """A pool of one thread of the driver, which cannot be killed: `close` waits until the job has stopped."""

    def __init__(self, work: str) -> None:
        super().__init__(slots=1, threads=None)
        self._work = work
        self._jobs: SimpleQueue[str | None] = SimpleQueue()
        self._stop = threading.Event()
        # A daemon: work that never asks whether to stop must not keep the process from ending.
        self._thread = threading.Thread(target=self._serve, name="ablate-local", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for job in iter(self._jobs.get, None):
            self._ended.put(jobs.call(self._work, job, self._stop.is_set))

    def _begin(self, name: str, job: str) -> None:
        self._jobs.put(job)

    def _end(self) -> None:
        self._stop.set()
        self._jobs.put(None)
        self._thread.join(GRACE)


def _describe_exit(code: int) -> str:
    """Describe an exit status in words."""
    if code >= 0:
        return f"it ended with exit code {code} in the midst of a job"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    causes: dict[int, str] = {
        signal.SIGKILL: "it was killed (by hand, or because the machine ran out of memory)",
        signal.SIGSEGV: "it crashed in native code",
        signal.SIGABRT: "it was aborted by native code",
    }
    return f"{causes.get(-code, 'it was ended by a signal')} [{name}]"


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Deliver signals that come meanwhile afterwards; a process that starts blocks them until it is ready."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
