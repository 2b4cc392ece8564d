"""optimizer: the optimizer and its learning rate, counted in images."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ablate.spec.component import Component, Course, Range, When

if TYPE_CHECKING:
    import torch

    from ablate.kinds.parameters import Parameters


RATE_SHARE = "rate_share"  # key of a parameter group: its rate over that of the optimizer


class Optimizer(Component):
    """Builds a torch optimizer; the learning rate warms up, then stays or falls, over images seen.

    `inverse_sqrt` is EDM2's lr·√(reference / max(images, reference)) (Karras et al. 2024, appendix B):
    it needs no end, so a training can be prolonged; `cosine` and `linear` fall until the budget is spent.
    `wsd` (warm-up, stable, decay; Hu et al. 2024) stays at `lr` until the last `cooldown` of the budget, in which it
    falls to `final` · lr by 1 − √(share of the cooldown), the best shape in Hägele et al. 2024. Before that the rate
    does not depend on the budget: trainings of N and of 2·N images are the same up to (1 − cooldown) · N, so that
    lengths of a training can be compared. With `cosine` and `linear` they differ from the first step on.
    """

    kind: ClassVar[str] = "optimizer"

    lr: Annotated[float, Field(gt=0, le=10), Range(1e-5, 1e-2, log=True)] = 1e-4
    warmup: Annotated[int, Field(ge=0, le=10**12)] = 0  # images until the full rate, linearly
    decay: Literal["constant", "cosine", "linear", "inverse_sqrt", "wsd"] = "constant"
    final: Annotated[float, Field(ge=0, le=1), When("decay", ("cosine", "linear", "wsd"))] = 0.0  # last rate / lr
    reference: Annotated[int, Field(ge=1, le=10**12), Range(1e4, 1e8, log=True), When("decay", ("inverse_sqrt",))] = (
        100_000  # images after which the rate falls
    )
    cooldown: Annotated[float, Field(gt=0, lt=1), Range(0.05, 0.5), When("decay", ("wsd",))] = 0.2
    """share of the budget at its end, in which the rate falls"""

    @abstractmethod
    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build the optimizer at rate `lr`, fused or foreach where the device has it.

        parameters: a sequence of tensors; `parameters.named` has the name, role and layer of each. A group of torch's
        may have the key "rate_share": its rate is always that share of the optimizer's, at least 0; 1 without the key.
        One that treats each number by itself, and keeps tensors of the parameter's shape and the number of steps
        ("step"), says "stackable" in `provides()`: in a pack it steps for several trainings at once.
        """

    def idle(self, course: Course) -> Iterator[str]:
        """Warn of a warm-up that outlasts the training or its stable part, and of a rate that has no time to fall."""
        if course.images is None:
            return
        if self.warmup >= course.images:
            yield f"warmup of {self.warmup:,} images: a training of {course.images:,} never reaches the full rate"
        if self.decay == "inverse_sqrt" and self.reference >= course.images:
            yield f"the rate falls after {self.reference:,} images, and the training has {course.images:,}"
        if self.decay == "wsd":
            yield from self._idle_cooldown(course.images, course.batch)

    def _idle_cooldown(self, images: int, batch: int) -> Iterator[str]:
        stable = images * (1 - self.cooldown)
        if images - stable < batch:
            yield f"the rate falls in the last {images - stable:,.0f} images, which are less than a step of {batch:,}"
        if stable < self.warmup < images:
            yield f"warmup of {self.warmup:,} images: the rate falls after {stable:,.0f}, before it is reached in full"

    def same_until(self, images: int) -> float:
        """Until the rate begins to fall towards the end of the training; it always does the same where it does not."""
        if self.decay in ("constant", "inverse_sqrt"):
            return math.inf
        return images * (1 - self.cooldown) if self.decay == "wsd" else min(self.warmup, images)

    def rate(self, images: float, budget: float) -> float:
        """Return the learning rate after `images` of `budget` images."""
        warm = min(1.0, images / self.warmup) if self.warmup else 1.0
        if self.decay == "constant":
            return self.lr * warm
        if self.decay == "inverse_sqrt":
            return self.lr * warm * math.sqrt(self.reference / max(images, self.reference))
        if self.decay == "wsd":
            stable = budget * (1 - self.cooldown)
            if images <= stable:
                return self.lr * warm
            part = min((images - stable) / (budget - stable), 1.0)
            return self.lr * warm * (self.final + (1 - self.final) * (1 - math.sqrt(part)))
        span = max(budget - self.warmup, 1)
        part = min(max(images - self.warmup, 0) / span, 1.0)
        factor = 1 - part if self.decay == "linear" else 0.5 * (1 + math.cos(math.pi * part))
        return self.lr * warm * (self.final + (1 - self.final) * factor)
