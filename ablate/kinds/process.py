"""The diffusion process: x = α·x0 + σ·ε, and the exact algebra between what is known of it.

The parts (schedule, target, precondition, weighting) are kinds of their own; `Process` composes
them, and is what losses and solvers see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.kinds.guidance import Companion, Guidance
    from ablate.kinds.precondition import Precondition
    from ablate.kinds.schedule import Schedule
    from ablate.kinds.target import Target
    from ablate.kinds.weighting import Weighting

Number = TypeVar("Number", float, "Tensor")

FLOOR = 1e-6  # the smallest α and σ that anything is divided by


class Level(NamedTuple):
    """Noise levels: time t in [0, 1] and the coefficients of x = α·x0 + σ·ε. float64, (B,) or ().

    In training a level lies on the device, (B,). In sampling it is one number () and stays on the
    CPU: torch hands such numbers to a kernel as arguments, so that no step waits for a copy.
    """

    t: Tensor
    alpha: Tensor
    sigma: Tensor

    @property
    def guarded(self) -> Level:
        """The same level with α and σ of at least 1e-6, so that all that divides by them is finite."""
        return Level(self.t, self.alpha.clamp(min=FLOOR), self.sigma.clamp(min=FLOOR))

    @property
    def snr(self) -> Tensor:
        """α²/σ², the signal-to-noise ratio; finite and positive, as the level is guarded."""
        _, alpha, sigma = self.guarded
        return (alpha / sigma) ** 2

    @property
    def log_snr(self) -> Tensor:
        """log(α²/σ²), between −27.6 and 27.6 for α, σ <= 1."""
        _, alpha, sigma = self.guarded
        return 2 * (alpha.log() - sigma.log())


class Noised(NamedTuple):
    """A training batch after diffusion."""

    x0: Tensor  # (B, C, H, W), in [-1, 1]
    noise: Tensor  # ε, like x0
    x: Tensor  # α·x0 + σ·ε
    level: Level  # (B,)


class Denoised(NamedTuple):
    """What a prediction says of x: the clean image and the noise in it."""

    x0: Tensor  # (B, C, H, W)
    noise: Tensor  # (B, C, H, W)
    variance: Tensor | None = None  # (B, C, H, W) raw, where the network learns Σ: −1 log β̃, 1 log β


Network = Callable[["Tensor", "Tensor", "Tensor | None"], "Tensor"]  # (x, c_noise, labels) -> output


def over(values: Tensor, x: Tensor) -> Tensor:
    """(B,) or () numbers in the type of x, shaped to multiply (B, ...).

    One number stays where it is: a () tensor on the CPU multiplies x on any device without a copy.
    """
    if values.ndim == 0:
        return values.to(x.dtype)
    return values.to(device=x.device, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def noise_label(level: Level) -> Tensor:
    """c_noise = ln(σ/α)/4 (Karras et al. 2022, table 1, where α = 1); finite, as the level is guarded."""
    return -level.log_snr / 8


class Posterior(NamedTuple, Generic[Number]):
    """q(x' | x, x0) of one step from a level to a cleaner one: a normal distribution.

    Its mean is on_x·x + on_x0·x0 and its variance `small` (β̃); `large` (β) is that of q(x | x').
    """

    on_x: Number
    on_x0: Number
    small: Number
    large: Number


def posterior(alpha: Number, sigma: Number, to_alpha: Number, to_sigma: Number) -> Posterior[Number]:
    """The step from (α, σ) to (α', σ'), in plain numbers or tensors, for any schedule with α', σ > 0.

    With r = α/α' and β = σ² − r²σ'²: on_x = r·σ'²/σ², on_x0 = α'·β/σ², β̃ = β·σ'²/σ² (Ho et al. 2020,
    eq. 7, in the coordinates of Kingma et al. 2021, "Variational Diffusion Models", eq. 25).
    """
    ratio = alpha / to_alpha
    large = sigma**2 - (ratio * to_sigma) ** 2
    share = to_sigma**2 / sigma**2
    return Posterior(ratio * share, to_alpha * large / sigma**2, large * share, large)


@dataclass(frozen=True)
class Process:
    """Schedule, target, preconditioning and weighting of one candidate, composed."""

    schedule: Schedule
    target: Target
    precondition: Precondition
    weighting: Weighting
    sigma_data: float  # standard deviation of the data in [-1, 1]
    uncertainty: Callable[[Tensor], Tensor] | None = None  # what the weighting built: c_noise -> u

    def level(self, t: Tensor) -> Level:
        """The noise level at t in [0, 1]."""
        return Level(t, self.schedule.alpha(t), self.schedule.sigma(t))

    def diffuse(self, x0: Tensor, noise: Tensor, level: Level) -> Noised:
        """Add noise: x = α·x0 + σ·ε."""
        return Noised(x0, noise, over(level.alpha, x0) * x0 + over(level.sigma, x0) * noise, level)

    def prior(self, noise: Tensor) -> Tensor:
        """Where sampling starts: x at t = 1 from standard normal noise, σ(1)·ε."""
        import torch

        return noise * float(self.schedule.sigma(torch.ones((), dtype=torch.float64)))

    def predict(self, network: Network, x: Tensor, level: Level, labels: Tensor | None) -> Tensor:
        """The network's prediction in the target's own terms, y = c_skip·x + c_out·F(c_in·x, c_noise).

        Channels beyond those of x (a learned variance) pass through as they are.
        """
        c = self.precondition.coefficients(level.guarded, self.target, self.sigma_data)
        label = x.new_ones(len(x)) * (c.noise if c.noise.ndim == 0 else c.noise.to(x.device)).to(x.dtype)
        output = network(over(c.input, x) * x, label, labels).to(x.dtype)
        channels = x.shape[1]
        mean = over(c.skip, x) * x + over(c.output, x) * output[:, :channels]
        if output.shape[1] == channels:
            return mean
        import torch

        return torch.cat([mean, output[:, channels:]], dim=1)

    def shown(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """What a further network sees of x: x at unit variance, and the label c_noise = ln(σ/α)/4, (B,)."""
        level = level.guarded
        scaled = over(((level.alpha * self.sigma_data) ** 2 + level.sigma**2).rsqrt(), x) * x
        return scaled, (x.new_ones(len(x), dtype=level.t.dtype) * noise_label(level)).to(x.dtype)

    def denoised(self, prediction: Tensor, x: Tensor, level: Level) -> Denoised:
        """x0 and ε from a prediction y = u·x0 + v·ε at x, by solving the two linear equations.

        At the end points, where x is all signal or all noise, the level is guarded: what y and x
        together determine is right to 1e-6, the rest is finite.
        """
        level = level.guarded
        u, v = self.target.coefficients(level)
        det = level.alpha * v - level.sigma * u
        y, extra = prediction[:, : x.shape[1]], prediction[:, x.shape[1] :]
        return Denoised(
            x0=over(v / det, x) * x - over(level.sigma / det, x) * y,
            noise=over(level.alpha / det, x) * y - over(u / det, x) * x,
            variance=extra if extra.shape[1] else None,
        )

    def denoiser(
        self,
        network: Network,
        guidance: Guidance,
        labels: Tensor | None,
        null: int,
        companion: Companion | None = None,
    ) -> Callable[[Tensor, float], Denoised]:
        """What a solver calls: (x, t) -> x0 and ε, under guidance; `null` is the null class's label.

        `companion` is the network that the guidance has trained for itself, if it has one.
        """

        def denoise(x: Tensor, t: float) -> Denoised:
            level = _level_at(self.schedule, t)

            def predict(x: Tensor, labels: Tensor | None) -> Tensor:
                return self.predict(network, x, level, labels)

            found = self.denoised(guidance.predict(predict, x, labels, null, level), x, level)
            if companion is None:
                return found
            return guidance.shift(lambda x: companion(*self.shown(x, level)), found, x, labels, level)

        return denoise

    def x0_weight(self, level: Level) -> Tensor:
        """The effective weight on the squared x0-error, whatever the target is. (B,) float64."""
        weight = self._weight(level)
        return weight if self.weighting.apply == "x0" else weight / self._x0_per_target(level)

    def target_weight(self, level: Level) -> Tensor:
        """The same weight as a factor of the target's own squared error. (B,) float64.

        An error e_y of the prediction is an error −σ/det·e_y of x0, so w·e_x0² = w·(σ/det)²·e_y².
        """
        weight = self._weight(level)
        return weight * self._x0_per_target(level) if self.weighting.apply == "x0" else weight

    def log_variance(self, level: Level) -> Tensor | None:
        """The learned u that is added to an image's loss, (B,); None where the weighting learns nothing."""
        return None if self.uncertainty is None else self.uncertainty(noise_label(level).float())

    def _weight(self, level: Level) -> Tensor:
        """The weighting's own weight, times e^(−u) where it learns u."""
        weight = self.weighting.weight(level.guarded, self.sigma_data)
        learned = self.log_variance(level)
        return weight if learned is None else weight * (-learned).exp()

    def _x0_per_target(self, level: Level) -> Tensor:
        level = level.guarded
        u, v = self.target.coefficients(level)
        return (level.sigma / (level.alpha * v - level.sigma * u)) ** 2


@lru_cache(maxsize=4096)
def _level_at(schedule: Schedule, t: float) -> Level:
    """One level on the CPU, made once: a solver asks for the same times with every batch."""
    import torch

    with torch.inference_mode(False):
        at = torch.tensor(t, dtype=torch.float64, device="cpu")
        return Level(at, schedule.alpha(at), schedule.sigma(at))
