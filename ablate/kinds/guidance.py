"""guidance: how a condition is made to count in sampling, and what training must do for it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from ablate.component import Component

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.kinds.process import Level

Predictor = Callable[["Tensor", "Tensor | None"], "Tensor"]  # (x, labels) -> prediction y


class Guidance(Component):
    """Combines predictions of the network under different conditions."""

    kind: ClassVar[str] = "guidance"

    @abstractmethod
    def drop_rate(self) -> float:
        """The share of training labels that the null class replaces, in [0, 1)."""

    @abstractmethod
    def predict(self, predict: Predictor, x: Tensor, labels: Tensor | None, null: int, level: Level) -> Tensor:
        """The guided prediction at x. `null` is the label of the null class; arithmetic in fp32.

        `predict` takes any batch, also one that repeats x, at this one level; `level` is a single
        number () on the CPU, so that asking for its value waits for nothing.
        """

    @abstractmethod
    def describe(self) -> str:
        """Its identity in results, such as `cfg(1.5)`."""
