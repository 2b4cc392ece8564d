"""Whether pictures are those from which latents were made: their labels, and what latents tell of brightness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.api import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKED_AT = 512  # images, spread over the set
SHIFTS = 8  # other pairings of pictures and latents with which theirs is compared
MARGIN = 0.02  # of the explained share, by which theirs has to be better than any of these
ORDER = (
    "they have to be those that were encoded, in the order of the latents: both are read in the order of their names"
)


def check_behind(
    pictures: NDArray[np.uint8],
    own: NDArray[np.int64] | None,
    latents: NDArray[Any],
    labels: NDArray[np.int64] | None,
    where: str,
) -> None:
    """Raise InputError where pictures (N, C, H, W) cannot be those behind latents (N, D, h, w).

    own, labels: (N,), of the pictures and of the latents, where they have some. An autoencoder keeps what is where: a
    linear function of a latent's channels tells the brightness of the picture there, better than that of another one.
    """
    if own is not None and labels is not None and not np.array_equal(own, labels):
        odd = int((own != labels).argmax())
        raise InputError(f"picture {odd} is of class {own[odd]} and its latent of class {labels[odd]}; {ORDER}", where)
    count = min(len(latents), LOOKED_AT)
    index = np.arange(count) * len(latents) // count
    z, brightness = np.asarray(latents[index], np.float64), _brightness(pictures[index], latents.shape[2:])
    if brightness is None:
        return
    channels = np.column_stack([z.transpose(0, 2, 3, 1).reshape(-1, z.shape[1]), np.ones(brightness.size)])
    shares = [_explained(channels, np.roll(brightness, shift, 0).ravel()) for shift in range(min(count, SHIFTS + 1))]
    if shares[0] < max(shares[1:]) + MARGIN:
        raise InputError(f"the pictures do not look like those that were encoded; {ORDER}", where)


def _brightness(pictures: NDArray[np.uint8], grid: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return the mean brightness at each place of a grid, (N, h, w); None where pictures are smaller than that."""
    grey = pictures.mean(1, dtype=np.float64)
    if grey.shape[1] < grid[0] or grey.shape[2] < grid[1]:
        return None
    for axis, places in enumerate(grid, 1):
        begins = np.arange(places + 1) * grey.shape[axis] // places
        lengths = np.diff(begins).reshape([-1 if i == axis else 1 for i in range(3)])
        grey = np.add.reduceat(grey, begins[:-1], axis) / lengths
    return grey


def _explained(inputs: NDArray[np.float64], outputs: NDArray[np.float64]) -> float:
    """Return the share of the outputs' variance that a linear function of the inputs explains."""
    coefficients = np.linalg.lstsq(inputs, outputs, rcond=None)[0]
    return 1 - float(np.var(outputs - inputs @ coefficients)) / max(float(np.var(outputs)), 1e-12)
