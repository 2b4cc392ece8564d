"""precision `fp32`: everything in single precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ablate.api import Precision

if TYPE_CHECKING:
    import torch


class Fp32(Precision):
    """Single precision, no casts. On CUDA, torch's own default lets convolutions round their inputs to TF32."""

    name = "fp32"
    default = True

    def forward(self, device: torch.device) -> AbstractContextManager[Any]:
        """A context that does nothing."""
        return nullcontext()

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """A disabled one."""
        import torch

        return torch.amp.GradScaler(device.type, enabled=False)
