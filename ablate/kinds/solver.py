"""solver: from noise to an image, as a generator of states."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from pydantic import Field

from ablate.component import Component, Range
from ablate.kinds.process import Denoised

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ablate.kinds.schedule import Schedule

Denoiser = Callable[["Tensor", float], Denoised]  # (x, t) -> x0 and ε; one call is one evaluation


class State(NamedTuple):
    """Where a solver stands."""

    x: Tensor  # (B, C, H, W) fp32, at time t
    x0: Tensor  # the clean image as last predicted
    t: float
    nfe: int  # calls of the denoiser so far


class Solver(Component):
    """Integrates the reverse process. All arithmetic in fp32 or better, whatever the network runs in."""

    kind: ClassVar[str] = "solver"

    steps: Annotated[int, Field(ge=1, le=10_000), Range(10, 100, log=True)] = 50

    @abstractmethod
    def nfe(self) -> int:
        """How often the denoiser is called for one sample."""

    @abstractmethod
    def sample(
        self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator
    ) -> Iterator[State]:
        """States from x at t = 1 to the image, in order; the last state's x is the sample.

        Times are plain numbers, laid out before the first call: no step waits for the device.
        """
