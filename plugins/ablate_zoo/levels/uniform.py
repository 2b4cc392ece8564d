"""levels `uniform`: uniform timestep sampling (Ho et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Levels, Schedule

if TYPE_CHECKING:
    from torch import Tensor


class UniformLevels(Levels):
    """Timestep t uniform in [0, 1], the continuous form of DDPM's uniform step (Ho et al. 2020, Alg. 1)."""

    name = "uniform"
    default = True

    def draw(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        """The numbers themselves."""
        return uniform.double()

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """One everywhere."""
        return t.new_ones(t.shape).double()
