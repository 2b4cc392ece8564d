"""Features are computed in full fp32, whatever autocast and TF32 the training around them has switched on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch autocast off, and TF32: with it CUDA rounds the inputs of fp32 convolutions and products to ten bits."""
    import torch

    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                yield
        finally:
            torch.set_float32_matmul_precision(before)
