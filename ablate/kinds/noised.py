"""The forward process x = α·x0 + σ·ε: noise levels, noised batches, denoised predictions, the step to less noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

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


class Origin(NamedTuple):
    """Where the images of a training batch come from."""

    first: int  # number of the first image in the training; the others follow it
    indices: Tensor  # (B,) int64, in the training set
    mirrored: Tensor | None = None  # (B,) bool, left to right; None: none is


class Noised(NamedTuple):
    """A training batch after diffusion."""

    x0: Tensor  # (B, C, H, W), in [-1, 1]
    noise: Tensor  # ε, like x0
    x: Tensor  # α·x0 + σ·ε
    level: Level  # (B,)
    origin: Origin | None = None  # None: a batch that was made by hand


class Denoised(NamedTuple):
    """What a prediction says of x: the clean image and the noise in it."""

    x0: Tensor  # (B, C, H, W)
    noise: Tensor  # (B, C, H, W)
    variance: Tensor | None = None  # (B, C, H, W) raw, where the network learns Σ: −1 log β̃, 1 log β


def over(values: Tensor, x: Tensor) -> Tensor:
    """Return (B,) or () numbers in the type of x, shaped to multiply (B, ...).

    One number stays where it is: a () tensor on the CPU multiplies x on any device without a copy.
    """
    if values.ndim == 0:
        return values.to(x.dtype)
    return values.to(device=x.device, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def noise_label(level: Level) -> Tensor:
    """Compute c_noise = ln(σ/α)/4 (Karras et al. 2022, table 1, where α = 1); finite, as the level is guarded."""
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
    """Compute the step from (α, σ) to (α', σ'), in plain numbers or tensors, for any schedule with α', σ > 0.

    With r = α/α' and β = σ² − r²σ'²: on_x = r·σ'²/σ², on_x0 = α'·β/σ², β̃ = β·σ'²/σ² (Ho et al. 2020,
    eq. 7, in the coordinates of Kingma et al. 2021, "Variational Diffusion Models", eq. 25).
    """
    ratio = alpha / to_alpha
    large = sigma**2 - (ratio * to_sigma) ** 2
    share = to_sigma**2 / sigma**2
    return Posterior(ratio * share, to_alpha * large / sigma**2, large * share, large)
