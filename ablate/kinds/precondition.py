"""precondition: preconditioning of the network, y = c_skip·x + c_out·F(c_in·x, c_noise)."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.kinds.noised import Level
    from ablate.kinds.target import Target


class Coefficients(NamedTuple):
    """c_skip, c_out, c_in and c_noise at each level, float64, shaped like `level.t`."""

    skip: Tensor
    output: Tensor
    input: Tensor
    noise: Tensor


class Precondition(Component):
    """Chooses the four coefficients from the level, the target and the data's root mean square.

    One says "unit_variance" in `provides()` where what the network sees, and what it is asked for,
    have variance 1 at every level.
    """

    kind: ClassVar[str] = "precondition"

    @abstractmethod
    def coefficients(self, level: Level, target: Target, sigma_data: float) -> Coefficients:
        """Compute the coefficients at `level`, which comes guarded; `sigma_data` is the root mean square of x0."""
