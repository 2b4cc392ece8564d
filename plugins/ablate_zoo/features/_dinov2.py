"""DINOv2's vision transformer as a fixed feature extractor: what surrounds the network of `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, PATCH = 224, 14
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1]
_OFFSET = 0.1  # that the original adds to the grid before it resamples its positions


def load(folder: Path) -> nn.Module:
    """Load the network of a local folder (config.json, model.safetensors) for images of 224×224.

    No code is run from it.
    """
    from transformers import Dinov2Model

    network: Any = Dinov2Model.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    table = network.embeddings.position_embeddings
    resampled = positions(table.data, SIDE // network.config.patch_size)
    network.embeddings.position_embeddings = nn.Parameter(resampled, requires_grad=False)
    fixed: nn.Module = network.float().requires_grad_(False).eval()
    return fixed


def positions(table: Tensor, grid: int) -> Tensor:
    """Resample positions (1, 1 + n², D) -> (1, 1 + grid², D) by the original's bicubic rule.

    `transformers` has another. The class token's stays; the scale is (grid + 0.1)/n, as `interpolate_offset` of
    DINOv2's hub models has it.
    """
    first, rest = table[:, :1], table[:, 1:]
    n = round(rest.shape[1] ** 0.5)
    if n == grid:
        return table
    square = rest.reshape(1, n, n, -1).permute(0, 3, 1, 2).float()
    scale = (grid + _OFFSET) / n
    square = F.interpolate(square, scale_factor=(scale, scale), mode="bicubic")  # (1, D, grid, grid)
    return torch.cat([first, square.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)], 1)


def prepare(images: Tensor) -> Tensor:
    """uint8 (B, C, H, W), grey or RGB -> fp32 (B, 3, 224, 224): bicubic, antialiased; ImageNet's mean and deviation."""
    x = images.to(torch.float32)
    if x.shape[-2:] != (SIDE, SIDE):
        x = F.interpolate(x, (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True)
    mean, deviation = (255 * torch.tensor(of, device=x.device).reshape(1, 3, 1, 1) for of in (MEAN, DEVIATION))
    return (x.expand(-1, 3, -1, -1) - mean) / deviation
