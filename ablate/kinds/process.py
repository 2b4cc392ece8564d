"""The diffusion process: x = α·x0 + σ·ε, and the exact algebra between what is known of it.

The parts (schedule, target, precondition, weighting) are kinds of their own; `Process` composes
them, and is what losses and solvers see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.kinds.precondition import Precondition
    from ablate.kinds.schedule import Schedule
    from ablate.kinds.target import Target
    from ablate.kinds.weighting import Weighting


class Level(NamedTuple):
    """Noise levels: time t in [0, 1] and the coefficients of x = α·x0 + σ·ε. float64, (B,) or ()."""

    t: Tensor
    alpha: Tensor
    sigma: Tensor

    @property
    def snr(self) -> Tensor:
        """α²/σ², the signal-to-noise ratio."""
        return (self.alpha / self.sigma) ** 2


class Noised(NamedTuple):
    """A training batch after diffusion."""

    x0: Tensor  # (B, C, H, W), in [-1, 1]
    noise: Tensor  # ε, like x0
    x: Tensor  # α·x0 + σ·ε
    level: Level  # (B,)


class Denoised(NamedTuple):
    """What a prediction says of x: the clean image and the noise in it."""

    x0: Tensor
    noise: Tensor


Network = Callable[["Tensor", "Tensor", "Tensor | None"], "Tensor"]  # (x, c_noise, labels) -> output


def over(values: Tensor, x: Tensor) -> Tensor:
    """(B,) or () numbers in the type of x, shaped to multiply (B, ...)."""
    return values.to(device=x.device, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True)
class Process:
    """Schedule, target, preconditioning and weighting of one candidate, composed."""

    schedule: Schedule
    target: Target
    precondition: Precondition
    weighting: Weighting
    sigma_data: float  # standard deviation of the data in [-1, 1]

    def level(self, t: Tensor) -> Level:
        """The noise level at t in [0, 1]."""
        return Level(t, self.schedule.alpha(t), self.schedule.sigma(t))

    def diffuse(self, x0: Tensor, noise: Tensor, level: Level) -> Noised:
        """x = α·x0 + σ·ε."""
        return Noised(x0, noise, over(level.alpha, x0) * x0 + over(level.sigma, x0) * noise, level)

    def predict(self, network: Network, x: Tensor, level: Level, labels: Tensor | None) -> Tensor:
        """The network's prediction in the target's own terms, y = c_skip·x + c_out·F(c_in·x, c_noise).

        Channels beyond those of x (a learned variance) pass through as they are.
        """
        c = self.precondition.coefficients(level, self.target, self.sigma_data)
        label = c.noise.to(device=x.device, dtype=x.dtype).reshape(-1).expand(len(x))
        output = network(over(c.input, x) * x, label, labels).to(x.dtype)
        channels = x.shape[1]
        mean = over(c.skip, x) * x + over(c.output, x) * output[:, :channels]
        if output.shape[1] == channels:
            return mean
        import torch

        return torch.cat([mean, output[:, channels:]], dim=1)

    def denoised(self, prediction: Tensor, x: Tensor, level: Level) -> Denoised:
        """x0 and ε from a prediction y = u·x0 + v·ε at x, by solving the two linear equations."""
        u, v = self.target.coefficients(level)
        det = level.alpha * v - level.sigma * u
        y = prediction[:, : x.shape[1]]
        return Denoised(
            x0=over(v / det, x) * x - over(level.sigma / det, x) * y,
            noise=over(level.alpha / det, x) * y - over(u / det, x) * x,
        )

    def x0_weight(self, level: Level) -> Tensor:
        """The effective weight on the squared x0-error, whatever the target is. (B,) float64."""
        weight = self.weighting.weight(level, self.sigma_data)
        return weight if self.weighting.apply == "x0" else weight / self._x0_per_target(level)

    def target_weight(self, level: Level) -> Tensor:
        """The same weight as a factor of the target's own squared error. (B,) float64.

        An error e_y of the prediction is an error −σ/det·e_y of x0, so w·e_x0² = w·(σ/det)²·e_y².
        """
        weight = self.weighting.weight(level, self.sigma_data)
        return weight * self._x0_per_target(level) if self.weighting.apply == "x0" else weight

    def _x0_per_target(self, level: Level) -> Tensor:
        u, v = self.target.coefficients(level)
        return (level.sigma / (level.alpha * v - level.sigma * u)) ** 2
