"""schedule `rectified_flow`: noise schedule along the straight path from image to noise, to zero terminal SNR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Schedule

if TYPE_CHECKING:
    from torch import Tensor


class RectifiedFlow(Schedule):
    """Rectified flow, x = (1 − t)·x0 + t·ε (Liu et al. 2022, "Flow Straight and Fast"; Lipman et al. 2022).

    It ends without any signal, so it counts as "zero_terminal_snr".
    """

    name = "rectified_flow"

    def provides(self) -> frozenset[str]:
        """Zero terminal SNR; straight paths."""
        return frozenset({"zero_terminal_snr", "straight_paths"})

    def alpha(self, t: Tensor) -> Tensor:
        """1 − t."""
        return 1 - t.double().clamp(0, 1)

    def sigma(self, t: Tensor) -> Tensor:
        """The time itself."""
        return t.double().clamp(0, 1)

    def time(self, log_snr: Tensor) -> Tensor:
        """σ/(α + σ) from σ/α."""
        return (-log_snr.double() / 2).sigmoid()
