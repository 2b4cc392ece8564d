"""The executor `slurm`: workers as jobs of Slurm, sent in arrays by submitit; they get trials by the study's folder."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import sys
import time
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import psutil
from pydantic import Field, PrivateAttr

from ablate.errors import InputError
from ablate.execute.leases import LONGEST, Jobs
from ablate.execute.segment import Segment
from ablate.execute.workers import Helper, WorkersPool
from ablate.io.files import read_json, write_json
from ablate.kinds.executor import Executor, Pool
from ablate.spec.component import Extent
from ablate.spec.quantities import Bytes, Seconds

GRACE = 10.0  # seconds in which a job of this machine ends
LOOK = 30.0  # seconds between two questions to Slurm's accounting
STARTS = 5  # arrays in a row whose jobs all ended without one worker that came
WARNING = 150  # seconds before the end of its time at which a job is told
FOLDER = "slurm"  # of logs, in the study's folder
FILE = "slurm.json"  # in the jobs' folder: what was sent


class Slurm(Executor):
    """Workers as jobs of Slurm: an array of `workers` jobs, each of which runs trials as `ablate worker` does.

    Every node sees the study's folder. A job whose time is over, or that is preempted (SIGTERM, SIGUSR1, SIGUSR2),
    writes a checkpoint, puts its trial back, and is queued again; its trial goes on elsewhere meanwhile. The driver may
    be killed and come back: jobs go on, and it finds them. Needs submitit: pip install 'ablate[slurm]'.
    """

    name = "slurm"
    preference: ClassVar[int] = -1  # never chosen by itself

    partition: Annotated[str | None, Extent()] = None  # None: Slurm's default
    account: Annotated[str | None, Extent()] = None
    time: Annotated[Seconds, Field(ge=60, le=3e7), Extent()] = 14400.0  # of a job, as 4h; then it is queued again
    cpus: Annotated[int, Field(ge=1, le=1024), Extent()] = 1  # a worker
    gpus: Annotated[int | None, Field(ge=0, le=64), Extent()] = None  # a worker; None: 1 with CUDA
    ram: Annotated[Bytes | None, Field(ge=2**28, le=2**50), Extent()] = None  # a worker; None: Slurm's default
    options: Annotated[tuple[str, ...], Extent()] = ()  # further ones of sbatch, as "constraint=a100"
    lease: Annotated[float, Field(ge=1, le=LONGEST), Extent()] = 60.0  # s without a sign of life
    system: Annotated[Literal["slurm", "local"], Extent()] = "slurm"  # local: jobs of this machine, to try it out
    _study: Path | None = PrivateAttr(None)

    @classmethod
    def available(cls) -> bool:
        """Whether submitit is installed."""
        return importlib.util.find_spec("submitit") is not None

    def in_folder(self, folder: Path) -> Self:
        """Return the executor for a study's folder."""
        placed = self.model_copy()
        placed._study = folder
        return placed

    def start(self, work: str, device: str) -> Pool:
        """Send the jobs. Raises InputError where Slurm refuses them: nothing is trained then."""
        if not self.available():
            raise InputError("the executor 'slurm' needs submitit: pip install 'ablate[slurm]'")
        if self._study is None and self.system != "local":
            raise InputError("the executor 'slurm' needs a study's folder that all nodes see")

        def helpers(jobs: Jobs) -> list[Helper]:
            return [_Array(jobs, self, device)]

        return WorkersPool(work, self._study, helpers, self.lease, self.memory)

    def parameters(self, device: str) -> dict[str, Any]:
        """Return the jobs' parameters as submitit names them."""
        further = dict(option.partition("=")[::2] for option in self.options)
        gpus = (1 if device == "cuda" else 0) if self.gpus is None else self.gpus
        own = {"slurm_partition": self.partition, "slurm_account": self.account}
        return {
            "timeout_min": math.ceil(self.time / 60),
            "cpus_per_task": self.cpus,
            **({"gpus_per_node": gpus} if gpus else {}),
            **({"mem_gb": self.ram / 2**30} if self.ram is not None else {}),
            "slurm_signal_delay_s": WARNING,
            **{key: value for key, value in own.items() if value is not None},
            "slurm_additional_parameters": {**further, "requeue": True},
        }


class _Array(Helper):
    """The jobs of a study, as many as are wanted; what an earlier driver has sent counts, while it lives."""

    def __init__(self, jobs: Jobs, settings: Slurm, device: str) -> None:
        import submitit

        self._file = jobs.root / FILE
        self._segment = Segment(str(jobs.study), settings.cpus)
        self._wanted = settings.workers or 1
        self._barren = 0  # arrays in a row of which no worker came
        self._came = False
        self._looked = time.monotonic()
        logs = jobs.study / FOLDER
        try:
            self._executor = submitit.AutoExecutor(
                folder=str(logs), cluster=settings.system, slurm_max_num_timeout=10**6
            )
            self._executor.update_parameters(name=f"ablate-{jobs.study.name}", **settings.parameters(device))
        except (RuntimeError, ValueError, TypeError, OSError) as error:
            raise _refused(error) from error
        self._jobs: list[Any] = []
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            sent = read_json(self._file)
            if sent["system"] == settings.system:
                kind = type(self._executor._executor).job_class
                self._jobs = [kind(str(logs), number) for number in sent["jobs"]]
        self._system = settings.system
        self._fill(len(list(jobs.present.glob("*.json"))))

    def keep(self, live: int) -> None:
        """Send jobs in place of those that have ended, now and then. Raises InputError where no worker ever comes."""
        if live:
            self._came = True
        if time.monotonic() - self._looked >= (LOOK if self._system == "slurm" else 1.0):
            self._looked = time.monotonic()
            self._fill(live)

    def end(self) -> None:
        """Cancel what is there."""
        for job in self._jobs:
            if self._system == "local":
                _end_local(job)
            with contextlib.suppress(Exception):  # what has ended cannot be cancelled
                if not job.done():
                    job.cancel(check=False)
        self._file.unlink(missing_ok=True)

    def _fill(self, live: int) -> None:
        before = len(self._jobs)
        self._jobs = [job for job in self._jobs if not job.done(force_check=True)]
        missing = self._wanted - max(len(self._jobs), live)
        if missing <= 0:
            return
        self._barren = 0 if self._came or not before else self._barren + 1
        self._came = False
        if self._barren > STARTS:
            raise InputError(f"the jobs that were sent to {self._system} end at once: see the logs in {self._logs()}")
        said = io.StringIO()  # submitit prints what sbatch says, and raises it too
        try:
            with contextlib.redirect_stderr(said), self._executor.batch():
                sent = [self._executor.submit(self._segment) for _ in range(missing)]
        except Exception as error:
            raise _refused(error) from error
        sys.stderr.write(said.getvalue())
        self._jobs += sent
        write_json(self._file, {"system": self._system, "jobs": [job.job_id for job in self._jobs]})

    def _logs(self) -> Path:
        return Path(self._executor.folder)


def _end_local(job: Any) -> None:
    """End a job of this machine in good order, whose cancelling would print a traceback."""
    end = time.monotonic() + GRACE
    with contextlib.suppress(psutil.Error, ValueError):
        for process in psutil.Process(int(job.job_id)).children():
            process.terminate()
    while not job.done() and time.monotonic() < end:
        time.sleep(0.05)


def _refused(error: Exception) -> InputError:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    reason = next((line for line in lines if "error:" in line), lines[-1] if lines else type(error).__name__)
    advice = "put it right in `executor`, or take --executor workers and start `ablate worker DIR` by hand"
    return InputError(f"Slurm takes no jobs ({reason}); {advice}")
