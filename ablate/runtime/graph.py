"""What records a piece of work on a device, and does it again without Python: a CUDA graph, or a tape of operators.

Both do again exactly what was done: the same operators on the same tensors, with every number of Python's as it was
when it was recorded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Work = Callable[[], list[Tensor]]

WARM_UP = 3  # plain runs before the recorded one, as torch asks for
NO_CUDA = "there is no CUDA device here"


class Capture(NamedTuple):
    """What came of capturing."""

    plain: str | None  # why the work is done plainly; None where replays are taken
    replayed: int = 0  # how often


class Recorder(ABC):
    """Records work; its results stand in `results`, and are those of the last replay."""

    results: list[Tensor]

    def warm(self, work: Work) -> list[Tensor]:
        """Do the work as it will be recorded, without recording it: kernels are chosen, memory is found."""
        return work()

    @abstractmethod
    def record(self, work: Work) -> None:
        """Record the work. On a GPU nothing is computed thereby."""

    @abstractmethod
    def replay(self) -> None:
        """Do it again."""


class CudaGraph(Recorder):
    """A CUDA graph. Torch's own generator of the device goes along: seeded before a replay, it draws as it always does.

    Raises RuntimeError for what cannot be captured, such as a read of a number on the host.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph = torch.cuda.CUDAGraph()

    def warm(self, work: Work) -> list[Tensor]:
        """On a stream beside the main one, as torch asks for."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            results = work()
        torch.cuda.current_stream().wait_stream(self._stream)
        return results

    def record(self, work: Work) -> None:
        """Capture it."""
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            self.results = work()

    def replay(self) -> None:
        """One launch."""
        self._graph.replay()


class Tape(Recorder):
    """A CUDA graph in slow motion, for devices that have none: the operators of the work, called again one by one.

    Each writes into the tensors that it wrote into when it was recorded. It saves no time: it shows what replays give.
    """

    def __init__(self) -> None:
        self._operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def record(self, work: Work) -> None:
        """Do the work, and note every operator with its inputs and outputs."""
        with _Noting(self._operations):
            self.results = work()

    @torch.no_grad()
    def replay(self) -> None:
        """Call them again, in order."""
        for function, args, kwargs, outputs in self._operations:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(outputs), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    old.copy_(new)


class _Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations = operations

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        self._operations.append((func, args, kwargs or {}, outputs))
        return outputs
