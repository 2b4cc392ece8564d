"""levels: which noise levels training draws (timestep sampling)."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.kinds.fitted import Fitted

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.kinds.schedule import Schedule


class Levels(Fitted):
    """A density over time in [0, 1], drawn by its inverse distribution function.

    Because the uniform numbers come from outside, two candidates of one seed see paired levels.
    """

    kind: ClassVar[str] = "levels"

    @abstractmethod
    def draw(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        """Map numbers uniform in [0, 1) to times t in [0, 1], by the inverse of the distribution. (B,) float64."""

    @abstractmethod
    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """Compute the density q(t) with respect to dt; it integrates to one over [0, 1]."""
