"""precision `bf16`: mixed precision, matrix products and convolutions in bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate_zoo.precision._sixteen import SixteenBits

if TYPE_CHECKING:
    import torch


class Bf16(SixteenBits):
    """Mixed precision in bfloat16 (Kalamkar et al. 2019), which has the range of fp32: the loss needs no scaling."""

    name = "bf16"

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16: 8 bits of exponent, 8 of precision."""
        import torch

        return torch.bfloat16

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """A disabled one."""
        import torch

        return torch.amp.GradScaler(device.type, enabled=False)
