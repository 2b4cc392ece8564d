"""Deep supervision: the head over a block's activations, and its error at the block's resolution."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Labels, Model, Noised


class DeepSupervisionLoss(nn.Module):
    """w·mean((ŷ − y)²), ŷ of a head over the activations at a block, y the target at the resolution of its grid.

    shape: of the activations of an image, maps (C, rows, columns) or tokens whose last rows·columns are of patches.
    image: (C, H, W).
    """

    def __init__(self, site: str, shape: tuple[int, ...], grid: tuple[int, int], image: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = image
        self.site, self.grid = site, grid
        self.pixels = (height // grid[0], width // grid[1])  # of a place
        features = shape[0] if len(shape) == 3 else shape[1]
        self.norm = nn.LayerNorm(features, eps=1e-6)
        self.convolution = nn.Conv2d(features, channels, 3, padding=1)

    def forward(self, noised: Noised, labels: Labels, model: Model) -> Tensor:
        """(B,)."""
        h = model.activation(self.site)
        h = h.permute(0, 2, 3, 1) if h.ndim == 4 else h[:, -self.grid[0] * self.grid[1] :].unflatten(1, self.grid)
        with model.precision():
            output = self.convolution(self.norm(h).permute(0, 3, 1, 2)).float()
        process, level = model.process, noised.level
        prediction = process.predict(lambda *_: output, self.coarse(noised.x), level, labels)
        target = self.coarse(process.target.value(noised.x0, noised.noise, level).float())
        error = (prediction - target).square().flatten(1).mean(1)
        return error * process.target_weight(level).to(error)

    def coarse(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, rows, columns), of unit variance where the pixels were independent and had that."""
        return F.avg_pool2d(image, self.pixels) * math.sqrt(self.pixels[0] * self.pixels[1])
