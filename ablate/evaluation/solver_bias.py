"""The discretisation error of a solver: the standard deviation of Gaussian samples drawn with the exact denoiser.

For x0 ~ N(0, s²) the best denoiser is known, E[x0 | x] = α·s²·x/V with V = α²·s² + σ². A perfect
network would give it, so whatever the samples' deviation is off by is the solver's own: its steps,
its grid, its start from pure noise. It is computed, not sampled: with a linear denoiser a sample is
a sum a·ε + Σ b_i·z_i over its first noise and the noises that the solver adds, so its variance is
a² + Σ b_i².
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ablate.kinds.noised import Denoised
from ablate.kinds.schedule import Schedule
from ablate.kinds.solver import Denoiser, Solver

DEVIATION = 0.5  # of the data, where it is not known: about that of pixels in [-1, 1]
TOLERATED = 0.02  # relative error of the deviation up to which nothing is said
MOST = 2000  # evaluations beyond which nothing is computed: it would take seconds, to find nothing
_DRAWS = (torch.randn, torch.randn_like, Tensor.normal_)


@lru_cache(maxsize=4096)
def deviation_error(solver: Solver, schedule: Schedule, deviation: float = DEVIATION) -> float | None:
    """Compute the relative error of the samples' standard deviation, exactly: 0.1 where it is 10 % too large.

    `clip` is off: a Gaussian has no range to be kept in. None where the error is not the solver's
    alone: it takes each step's variance from the network, or is not linear in x; nor for more than
    2,000 evaluations.
    """
    if solver.requires() or solver.nfe() > MOST:
        return None
    plain = solver.model_copy(update={"clip": False})
    with torch.inference_mode(), torch.device("cpu"):
        noises = _Independent(2 * solver.nfe() + 2)  # a first one, and at most two a call
        x = plain.start(schedule).sigma * noises.draw()
        with noises:
            for state in plain.sample(_exact(schedule, deviation), x, schedule, torch.Generator()):
                x = state.x
        if not torch.allclose(2 * x[..., 0], x[..., 1]):
            return None
        return float(x[..., 0].square().sum().sqrt()) / deviation - 1


class _Independent(TorchFunctionMode):
    """Stands in for normal numbers: the i-th that is drawn is the i-th unit vector along the batch.

    Its last dimension holds it once and twice, by which one sees whether what follows is linear.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.drawn = most, 0

    def draw(self) -> Tensor:
        """(most, 1, 1, 2) float64."""
        unit = torch.zeros(self.most, 1, 1, 2, dtype=torch.float64)
        unit[self.drawn] = torch.tensor([1.0, 2.0], dtype=torch.float64)
        self.drawn += 1
        return unit

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if function in _DRAWS:
            return self.draw()
        return function(*args, **(kwargs or {}))


def _exact(schedule: Schedule, deviation: float) -> Denoiser:
    """Return the denoiser of a perfect network."""

    def denoise(x: Tensor, t: float, to: float | None = None, /) -> Denoised:
        at = torch.tensor(t, dtype=torch.float64)
        alpha, sigma = float(schedule.alpha(at)), float(schedule.sigma(at))
        rest = x / ((alpha * deviation) ** 2 + sigma**2)
        return Denoised(alpha * deviation**2 * rest, sigma * rest)

    return denoise
