"""levels `linear_sigma`: noise level sampling uniform in σ."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ablate.api import Levels, Schedule

if TYPE_CHECKING:
    from torch import Tensor

CELLS = 16_384


class LinearSigma(Levels):
    """Noise level σ(t) uniform between σ(0) and σ(1).

    σ, not σ/α, so that it is defined where no signal is left; for α = 1 the two are the same. The
    distribution is laid out over 16,384 cells of time, within which it is even: density and draw
    belong together exactly, and follow σ to about 1e-4 of its range.
    """

    name = "linear_sigma"

    def draw(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        """By looking up the cell."""
        import torch

        table = _distribution(schedule, str(uniform.device))
        u = uniform.double()
        right = torch.searchsorted(table, u, right=True).clamp(1, CELLS)
        return (right - 1 + (u - table[right - 1]) / (table[right] - table[right - 1])) / CELLS

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """The cell's share over its width."""
        table = _distribution(schedule, str(t.device))
        cell = (t.double() * CELLS).floor().long().clamp(0, CELLS - 1)
        return (table[cell + 1] - table[cell]) * CELLS


@lru_cache(maxsize=64)
def _distribution(schedule: Schedule, device: str) -> Tensor:
    """Tabulate (σ(t) − σ(0))/(σ(1) − σ(0)) at the edges of the cells."""
    import torch

    with torch.inference_mode(False):
        sigma = schedule.sigma(torch.linspace(0, 1, CELLS + 1, dtype=torch.float64, device="cpu"))
        return ((sigma - sigma[0]) / (sigma[-1] - sigma[0])).to(device)
