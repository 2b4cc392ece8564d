"""schedule: how much signal and noise there is at each time, α(t) and σ(t)."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ablate.kinds.fitted import Fitted
from ablate.spec.component import When

if TYPE_CHECKING:
    from torch import Tensor


class Schedule(Fitted):
    """α and σ over continuous time t in [0, 1], from clean (0) to noise (1).

    SNR falls strictly. All methods take and give float64 tensors of any shape, on any device.
    Capabilities that others look for: "zero_terminal_snr" (no signal at t = 1),
    "variance_preserving" (α² + σ² = 1), "discrete" (a table of steps, `DiscreteSchedule`).
    """

    kind: ClassVar[str] = "schedule"

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Compute the factor of the signal."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Compute the factor of the noise."""

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """Compute the inverse of `log_snr`, clamped to [0, 1]."""

    def log_snr(self, t: Tensor) -> Tensor:
        """Compute log(α²/σ²); −inf where there is no signal left, inf where there is no noise."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def slope(self, t: Tensor) -> Tensor:
        """Compute the derivative of `log_snr` by t, negative; by automatic differentiation, so exact."""
        import torch

        with torch.inference_mode(False), torch.enable_grad():
            at = t.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.log_snr(at).sum(), at)
        return slope


class DiscreteSchedule(Schedule):
    """A schedule that is given by a table ᾱ_0 … ᾱ_{T−1}; t = i/(T−1) is its entry i.

    Between the entries ᾱ is linear in t, which is exact at every entry and at zero terminal SNR.
    """

    steps: Annotated[int, Field(ge=2, le=100_000)] = 1000
    zero_terminal_snr: bool = False
    rescale: Annotated[Literal["root", "beta"], When("zero_terminal_snr", (True,))] = "root"

    @abstractmethod
    def betas(self, steps: int) -> Tensor:
        """Return β_1 … β_T, each in (0, 1), float64 (T,) on the CPU."""

    def alphas_bar(self, steps: int) -> Tensor:
        """Compute ᾱ_i = Π_{j≤i} (1 − β_j), float64 (T,); with `zero_terminal_snr` the last is 0.

        `rescale: root` shifts √ᾱ so that the last is 0 and scales it so that the first is kept
        (Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", Alg. 1).
        `rescale: beta` multiplies each β by (1 − ᾱ_1)/(1 − ᾱ_T), a cheaper rule that is said to do
        the same. It does not: the factor is about β_1, so nearly all noise goes, and ᾱ_T rises to
        0.9990 for `linear` (from 4e-5) where 0 was wanted. It is here to be compared, and does not
        count as "zero_terminal_snr".
        """
        betas = self.betas(steps)
        table = (1 - betas).cumprod(0)
        if not self.zero_terminal_snr:
            return table
        if self.rescale == "beta":
            return (1 - betas * (1 - table[0]) / (1 - table[-1])).cumprod(0)
        root = table.sqrt()
        return ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2

    def provides(self) -> frozenset[str]:
        """Zero terminal SNR where it is switched on; always discrete and variance-preserving."""
        always = frozenset({"discrete", "variance_preserving"})
        return always | {"zero_terminal_snr"} if self.zero_terminal_snr and self.rescale == "root" else always

    def alpha(self, t: Tensor) -> Tensor:
        """Compute √ᾱ(t)."""
        return self._alpha_bar(t).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """Compute √(1 − ᾱ(t))."""
        return (1 - self._alpha_bar(t)).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        """Compute the time at which ᾱ(t) = sigmoid(log SNR)."""
        import torch

        table = _table(self, str(log_snr.device))
        target = torch.sigmoid(log_snr.double()).clamp(table[-1], table[0])
        right = torch.searchsorted(-table, -target).clamp(1, len(table) - 1)
        part = (table[right - 1] - target) / (table[right - 1] - table[right])
        return (right - 1 + part) / (len(table) - 1)

    def _alpha_bar(self, t: Tensor) -> Tensor:
        table = _table(self, str(t.device))
        place = t.double().clamp(0, 1) * (len(table) - 1)
        lower = place.detach().floor().long().clamp(max=len(table) - 2)
        return table[lower].lerp(table[lower + 1], place - lower)


@lru_cache(maxsize=64)
def _table(schedule: DiscreteSchedule, device: str) -> Tensor:
    """Return the schedule's own table on a device, made once; a plain tensor, whoever asks first."""
    import torch

    from ablate.runtime.meta_device import OnDevice

    with torch.inference_mode(False), OnDevice("cpu"):
        return schedule.alphas_bar(schedule.steps).double().to(device)
