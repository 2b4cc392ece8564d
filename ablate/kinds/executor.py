"""executor: where jobs run, the trials and measurements of a study."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NotRequired, Self, get_args

from pydantic import ConfigDict, Field, model_validator, with_config
from typing_extensions import TypedDict

from ablate.spec.component import Component, Config, Extent
from ablate.spec.quantities import Bytes, Seconds

MOST_PACKED = 1024
Job = Mapping[str, Any]  # JSON: {"job": id, "threads": CPU threads or null, ...}
Status = Literal["done", "diverged", "paused", "oom", "failed", "lost"]
STATUSES: tuple[Status, ...] = get_args(Status)


@with_config(ConfigDict(extra="allow"))
class Report(TypedDict):
    """How a job ended, as JSON: a plain dictionary. What the work function reports beyond these keys is in it too."""

    job: str  # the job's name
    status: Status
    message: NotRequired[str]  # why it was not done
    traceback: NotRequired[str | None]


Stop = Callable[[], bool]  # whether the pool is closing: ask at every step, and raise Stopped once it says so
Work = Callable[[Job, Stop], Report]


class Stopped(Exception):  # noqa: N818 - an order that was followed, not an error
    """Raised by a work function that stops before its end because it was asked to: the job counts as lost."""


class Pool(ABC):
    """Running workers, one job a slot; reports come in any order.

    An exception that escapes the work function becomes {"job", "status": "failed", "message",
    "traceback"}, a worker that died or a node that is gone {"job", "status": "lost", "message"}.
    """

    slots: int
    apart: bool = False  # whether jobs run in other processes, so that the driver may build networks meanwhile

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a job; there must be a free slot.

        Where the job's `threads` is null or absent, the pool fills in what one of its slots may use.
        """

    @abstractmethod
    def wait(self, timeout: float) -> Sequence[Report]:
        """Return the reports of jobs that ended, after at most `timeout` seconds; may be empty.

        It returns at the first report, and at once where no job runs. KeyboardInterrupt passes through.
        """

    def abandon(self, job: str, why: str) -> bool:
        """Kill the worker of a job that hangs, so that `wait` reports it as failed, with `why` as its message.

        False where that is not possible, or the job does not run.
        """
        return False

    def news(self) -> list[str]:
        """Return lines for the user since the last time: of workers that do not take part, and why."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Stop everything, running jobs too (they resume from their checkpoints). Again is no error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


class Limits(Config):
    """What a trial may take. One that takes more is ended, and told; the study goes on."""

    trial: Annotated[Seconds | None, Field(ge=1, le=1e8), Extent()] = None  # each time that it is begun: then it failed
    build: Annotated[Seconds | None, Field(ge=0.1, le=1e6), Extent()] = None  # of its network, tried apart first
    memory: Annotated[Bytes | None, Field(ge=2**26, le=2**50), Extent()] = None  # resident: then it is out of memory


class Executor(Component):
    """Starts a pool that runs `work`, a function from JSON to JSON, on jobs."""

    kind: ClassVar[str] = "executor"

    workers: Annotated[int | None, Field(ge=1, le=4096), Extent()] = None  # None: as many as fit
    patience: Annotated[float | None, Field(gt=0, le=1e7), Extent()] = 1800.0  # s of silence that end a trial
    limits: Annotated[Limits | None, Extent()] = None  # as {trial: 2h, build: 60s, memory: 20GiB}
    pack: Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] | None, Extent()] = None
    """trials of one network shape that are trained as one, at the most; auto: 8 on a GPU, none on the CPU"""

    @model_validator(mode="after")
    def _packs_where_it_can(self) -> Self:
        if self.pack is not None and not self.packs:
            raise ValueError(
                f"the executor {self.name!r} trains every trial by itself: leave `pack` out, or use 'local'"
            )
        if isinstance(self.pack, int) and not 1 <= self.pack <= MOST_PACKED:
            raise ValueError(
                f"`pack` is the number of trials trained as one, 1 to {MOST_PACKED}, or auto; not {self.pack}"
            )
        return self

    @property
    def memory(self) -> int | None:
        """Bytes that a trial's processes may have resident; None: as many as there are."""
        return None if self.limits is None else self.limits.memory

    @classmethod
    def available(cls) -> bool:
        """Return whether it can run here. Of several that can, the one with the highest `preference` is the default."""
        return True

    preference: ClassVar[int] = 0
    packs: ClassVar[bool] = False  # whether a job of several trials (`members`) is brought to a worker as any other
    # Where trials of a study run whose folder is the URL of one in a store: in the driver's own folder for it on this
    # machine, or with workers that fetch what they need; None: nowhere, as its workers would have to share a folder.
    by_url: ClassVar[Literal["here", "there"] | None] = None
    measures: ClassVar[bool] = True  # False: it runs no work, and reports what was recorded earlier

    def refuse_trials(self, job: Job) -> str | None:
        """Return why trials such as this one cannot be run, asked before anything is; None where they can.

        job: that of a study's baseline, without the keys of a folder's run.
        """
        return None

    def in_folder(self, folder: Path) -> Self:
        """Return the executor for a study's folder, which `start` then knows; most need not."""
        return self

    def getting_ready(self, work: str) -> AbstractContextManager[None]:
        """Begin, without waiting, what takes long before the first job; what `start` leaves ends with the `with`.

        Entered as soon as the executor is known, while the study is checked and may still be refused: nothing may be
        written or told.
        """
        return nullcontext()

    @abstractmethod
    def start(self, work: str, device: str) -> Pool:
        """Start a pool for the function `work`, named as `module:function` so that any worker can import it.

        device: `cpu` or `cuda`, as already decided. Raises InputError where no worker can be started.
        """
