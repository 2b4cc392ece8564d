"""bf16: matrix products and convolutions in bfloat16."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ablate.api import Precision

if TYPE_CHECKING:
    import torch


class Bf16(Precision):
    """Mixed precision by torch.autocast. bfloat16 has the range of fp32, so the loss needs no scaling."""

    name = "bf16"

    def forward(self, device: torch.device) -> AbstractContextManager[Any]:
        """Autocast on that device; softmax and normalisation stay in fp32 as torch decides."""
        import torch

        return torch.autocast(device.type, dtype=torch.bfloat16)

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """A disabled one."""
        import torch

        return torch.amp.GradScaler(device.type, enabled=False)
