"""weighting: how much each noise level counts in the loss."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from ablate.kinds.fitted import Fitted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ablate.kinds.noised import Level


class Weighting(Fitted):
    """A weight w(level) on the squared error of x0, so that it means the same for every target.

    `apply: native` multiplies the target's own squared error instead; either way the effective
    weight on the x0-error is recorded with the results.
    """

    kind: ClassVar[str] = "weighting"

    apply: Literal["x0", "native"] = "x0"

    @abstractmethod
    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """Compute the weight at each level, finite, at least 0, float64, shaped like `level.t` (guarded)."""

    def build(self) -> nn.Module | None:
        """Build a learned log-variance u, trained with the network; None where all is known beforehand.

        A module `forward(noise)`: (B,) fp32 noise labels c_noise = ln(σ/α)/4 -> u (B,). An image's
        loss becomes w·e^(−u)·error + u, so that w·e^(−u) is the effective weight, and u settles at
        the logarithm of the error that it is weighed against (Kendall et al. 2018, "Multi-Task
        Learning Using Uncertainty"; Karras et al. 2024, "Analyzing and Improving the Training
        Dynamics of Diffusion Models", eq. 14).
        """
        return None
