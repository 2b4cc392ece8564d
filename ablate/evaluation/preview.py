"""Previews: a grid of samples as one picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def contact_sheet(images: NDArray[np.uint8], columns: int | None = None, scale: int | None = None) -> Image.Image:
    """Arrange images (N, C, H, W) in a grid, each pixel `scale` wide; of more than three channels the first three."""
    count, channels, height, width = images.shape
    columns = columns or min(count, max(1, 10 if count % 10 == 0 else math.ceil(math.sqrt(count))))
    rows = math.ceil(count / columns)
    scale = scale or max(1, 64 // max(height, width))
    pictures = images[:, :3] if channels >= 3 else images[:, :1].repeat(3, axis=1)
    sheet = np.full((rows, height + 1, columns, width + 1, 3), 255, np.uint8)
    for i, image in enumerate(pictures):
        sheet[i // columns, :height, i % columns, :width] = image.transpose(1, 2, 0)
    flat = sheet.reshape(rows * (height + 1), columns * (width + 1), 3)
    return Image.fromarray(flat.repeat(scale, 0).repeat(scale, 1))
