"""Resize and crop images, and convert their colour, by fixed rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Colour = Literal["as_is", "grey", "rgb"]
Resize = Literal["centre_crop", "stretch"]


def recolour(pixels: NDArray[np.uint8], colour: Colour) -> NDArray[np.uint8]:
    """Convert the colour, (C, H, W) -> (1 or 3, H, W): grey is ITU-R 601 luma, rounded; RGB of grey repeats it."""
    if colour == "rgb" and len(pixels) == 1:
        return pixels.repeat(3, axis=0)
    if colour == "grey" and len(pixels) == 3:
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
        return np.rint(np.tensordot(weights, pixels.astype(np.float32), 1))[None].clip(0, 255).astype(np.uint8)
    return pixels


def resize(pixels: NDArray[np.uint8], size: int, rule: Resize) -> NDArray[np.uint8]:
    """Resize, (C, H, W) -> (C, size, size).

    centre_crop, the rule of ADM (Dhariwal & Nichol 2021) and of DiT: halve by box averages while the
    shorter side is at least twice as long as wanted; bicubic until it is as long as wanted; cut the
    square out of the middle. stretch: bicubic with antialiasing, each side by itself.
    """
    from PIL import Image

    height, width = pixels.shape[1:]
    if rule == "stretch":
        return _scaled(pixels, size, size, Image.Resampling.BICUBIC)
    halved = _halved(height, width, size)
    for rows, columns in halved[1:]:
        pixels = _scaled(pixels, rows, columns, Image.Resampling.BOX)
    scale = size / min(halved[-1])
    height, width = (round(side * scale) for side in halved[-1])
    pixels = _scaled(pixels, height, width, Image.Resampling.BICUBIC)
    top, left = ((side - size) // 2 for side in pixels.shape[1:])
    return np.ascontiguousarray(pixels[:, top : top + size, left : left + size])


def crop_offsets(height: int, width: int, size: int) -> tuple[int, int]:
    """Return (top, left) of the square that centre_crop cuts out of a picture, in pixels after scaling."""
    height, width = _halved(height, width, size)[-1]
    scale = size / min(height, width)
    return (round(height * scale) - size) // 2, (round(width * scale) - size) // 2


def _halved(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """Return height and width, as they are and after each halving."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= 2 * size:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def _scaled(pixels: NDArray[np.uint8], height: int, width: int, filter_: int) -> NDArray[np.uint8]:
    if pixels.shape[1:] == (height, width):
        return pixels
    from PIL import Image

    grey = len(pixels) == 1
    image = Image.fromarray(pixels[0] if grey else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    scaled = np.asarray(image.resize((width, height), Image.Resampling(filter_)))
    return scaled[None] if grey else scaled.transpose(2, 0, 1)
