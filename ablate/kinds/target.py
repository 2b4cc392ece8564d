"""target: what the network regresses, y = u·x0 + v·ε."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.component import Component
from ablate.kinds.process import Level, over

if TYPE_CHECKING:
    from torch import Tensor


class Target(Component):
    """A target is a pair of coefficients; everything else follows from them by algebra."""

    kind: ClassVar[str] = "target"

    @abstractmethod
    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(u, v) of y = u·x0 + v·ε at each level, float64, shaped like `level.alpha`."""

    def value(self, x0: Tensor, noise: Tensor, level: Level) -> Tensor:
        """y, shaped like x0."""
        u, v = self.coefficients(level)
        return over(u, x0) * x0 + over(v, x0) * noise
