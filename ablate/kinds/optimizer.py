"""optimizer: the rule by which parameters move, and how fast, counted in images."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ablate.component import Component, Range, When

if TYPE_CHECKING:
    import torch


class Optimizer(Component):
    """Builds a torch optimizer; the learning rate warms up, then stays or falls, over images seen."""

    kind: ClassVar[str] = "optimizer"

    lr: Annotated[float, Field(gt=0, le=10), Range(1e-5, 1e-2, log=True)] = 1e-4
    warmup: Annotated[int, Field(ge=0)] = 0  # images until the full rate, linearly
    decay: Literal["constant", "cosine"] = "constant"
    final: Annotated[float, Field(ge=0, le=1), When("decay", ("cosine",))] = 0.0  # last rate / lr

    @abstractmethod
    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer at rate `lr`, fused or foreach where the device has it."""

    def rate(self, images: float, budget: float) -> float:
        """The learning rate after `images` of `budget` images."""
        warm = min(1.0, images / self.warmup) if self.warmup else 1.0
        if self.decay == "constant":
            return self.lr * warm
        span = max(budget - self.warmup, 1)
        part = min(max(images - self.warmup, 0) / span, 1.0)
        return self.lr * warm * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * part)))
