"""target: what the network regresses, y = u·x0 + v·ε."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.kinds.noised import Level, over
from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor


class Target(Component):
    """The regression target y = u·x0 + v·ε: a pair of coefficients, from which everything else follows by algebra.

    The pair must say more than x does, α·v ≠ σ·u, at every level with α > 0 and σ > 0.
    """

    kind: ClassVar[str] = "target"

    @abstractmethod
    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """Return (u, v) of y = u·x0 + v·ε at each level, float64, shaped like `level.alpha`.

        The level comes guarded: α and σ are positive.
        """

    def value(self, x0: Tensor, noise: Tensor, level: Level) -> Tensor:
        """Compute y, shaped like x0."""
        u, v = self.coefficients(level.guarded)
        return over(u, x0) * x0 + over(v, x0) * noise
