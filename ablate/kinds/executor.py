"""executor: where segments run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ablate.component import Component, Extent

Job = Mapping[str, Any]  # JSON: see ablate.segment.Job
Report = dict[str, Any]  # JSON: {"job": id, "status": "done" | "diverged" | "oom" | "failed" | "lost", ...}
Work = Callable[[Job], Report]


class Pool(ABC):
    """Running workers. One job a slot; reports come in any order."""

    slots: int

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a job; there must be a free slot."""

    @abstractmethod
    def wait(self, timeout: float) -> list[Report]:
        """The reports of jobs that ended, after at most `timeout` seconds; may be empty."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything, running jobs too (they resume from their checkpoints)."""


class Executor(Component):
    """Starts a pool that runs `work`, a function from JSON to JSON, on jobs."""

    kind: ClassVar[str] = "executor"

    workers: Annotated[int | None, Field(ge=1, le=4096), Extent()] = None  # None: as many as fit

    @classmethod
    def available(cls) -> bool:
        """Whether it can run here. Of several that can, the one with the highest `preference` is the default."""
        return True

    preference: ClassVar[int] = 0

    @abstractmethod
    def start(self, work: str, device: str) -> Pool:
        """A pool for the function `work`, named as `module:function` so that any worker can import it.

        device: `cpu` or `cuda`, as already decided.
        """
