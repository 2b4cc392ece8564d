"""optimizer: the optimizer and its learning rate, counted in images."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ablate.spec.component import Component, Course, Range, When

if TYPE_CHECKING:
    import torch


class Optimizer(Component):
    """Builds a torch optimizer; the learning rate warms up, then stays or falls, over images seen.

    `inverse_sqrt` is EDM2's lr·√(reference / max(images, reference)) (Karras et al. 2024, appendix B):
    it needs no end, so a training can be prolonged; `cosine` and `linear` fall until the budget is spent.
    """

    kind: ClassVar[str] = "optimizer"

    lr: Annotated[float, Field(gt=0, le=10), Range(1e-5, 1e-2, log=True)] = 1e-4
    warmup: Annotated[int, Field(ge=0, le=10**12)] = 0  # images until the full rate, linearly
    decay: Literal["constant", "cosine", "linear", "inverse_sqrt"] = "constant"
    final: Annotated[float, Field(ge=0, le=1), When("decay", ("cosine", "linear"))] = 0.0  # last rate / lr
    reference: Annotated[int, Field(ge=1, le=10**12), Range(1e4, 1e8, log=True), When("decay", ("inverse_sqrt",))] = (
        100_000  # images after which the rate falls
    )

    @abstractmethod
    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Build the optimizer at rate `lr`, fused or foreach where the device has it."""

    def idle(self, course: Course) -> Iterator[str]:
        """Warn of a warm-up that outlasts the training, and of a rate that would fall after its end."""
        if course.images is None:
            return
        if self.warmup >= course.images:
            yield f"warmup of {self.warmup:,} images: a training of {course.images:,} never reaches the full rate"
        if self.decay == "inverse_sqrt" and self.reference >= course.images:
            yield f"the rate falls after {self.reference:,} images, and the training has {course.images:,}"

    def rate(self, images: float, budget: float) -> float:
        """Return the learning rate after `images` of `budget` images."""
        warm = min(1.0, images / self.warmup) if self.warmup else 1.0
        if self.decay == "constant":
            return self.lr * warm
        if self.decay == "inverse_sqrt":
            return self.lr * warm * math.sqrt(self.reference / max(images, self.reference))
        span = max(budget - self.warmup, 1)
        part = min(max(images - self.warmup, 0) / span, 1.0)
        factor = 1 - part if self.decay == "linear" else 0.5 * (1 + math.cos(math.pi * part))
        return self.lr * warm * (self.final + (1 - self.final) * factor)
