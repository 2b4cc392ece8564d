"""precision `fp16`: mixed precision in half precision, with dynamic loss scaling (Micikevicius et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Range
from ablate_zoo.precision._sixteen import SixteenBits

if TYPE_CHECKING:
    import torch


class Fp16(SixteenBits):
    """Mixed precision in IEEE half precision with dynamic loss scaling (Micikevicius et al. 2018, section 3.2).

    The loss is multiplied by `scale`, so that small gradients do not vanish below 6e-8, and gradients are
    divided by it before anything looks at them. A step with a gradient that is not finite is skipped and
    halves the scale; `growth` steps without one double it.
    """

    name = "fp16"

    scale: Annotated[float, Field(ge=1, le=2**32), Range(2.0**8, 2.0**24, log=True)] = 2.0**16  # at the start
    growth: Annotated[int, Field(ge=1, le=1_000_000_000)] = 2000  # steps

    @property
    def dtype(self) -> torch.dtype:
        """float16: 5 bits of exponent, 11 of precision."""
        import torch

        return torch.float16

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """The one of torch."""
        import torch

        return torch.amp.GradScaler(device.type, init_scale=self.scale, growth_interval=self.growth)
