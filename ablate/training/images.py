"""The data loader: training images on the device where they fit, memory-mapped where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.kinds.condition import Uniform, within
from ablate.kinds.conditions import Conditions
from ablate.kinds.data import Dataset
from ablate.runtime.machine import cache_folder
from ablate.runtime.randomness import RandomStreams

RESIDENT = 2 * 2**30  # bytes of images that are kept on the device; more stay in their memory-mapped file
LOOKED_AT, VALUES = 10_000, 2**26  # images, and numbers of them, from which their root mean square is measured


class Images:
    """The training images (uint8 or latents), normalised and augmented as they are drawn.

    resident: bytes up to which the images live on the device. What it draws does not depend on that.
    cache: a folder for what is computed of the images; None: a user's own (`cache_folder`).
    """

    def __init__(
        self, dataset: Dataset, device: torch.device, resident: int = RESIDENT, cache: Path | None = None
    ) -> None:
        self.dataset = dataset
        self.cache = cache_folder() if cache is None else cache
        total = sum(part.nbytes for part in (dataset.images, dataset.mirrored) if part is not None)
        self.device = device
        self.encoding = dataset.encoding
        self.flip = dataset.flip
        self.stored = _on_device(dataset.images, device, total <= resident)  # (N, C, H, W) uint8, or latents
        self.mirrored = None if dataset.mirrored is None else _on_device(dataset.mirrored, device, total <= resident)
        self.labels = None if dataset.labels is None else torch.tensor(dataset.labels, device=device)
        if self.encoding is not None:
            self.shift, self.scale = (
                torch.tensor(values, device=device)[:, None, None]
                for values in (self.encoding.shift, self.encoding.scale)
            )
        self._stored = [
            None if c.training is None else torch.tensor(c.training, device=device) for c in dataset.conditions
        ]
        self.sigma_data = self._root_mean_square()

    def __len__(self) -> int:
        return len(self.stored)

    def take(self, index: Tensor, draws: RandomStreams | None = None, first: int = 0) -> Tensor:
        """Return the images of these indices, (B, C, H, W) fp32: pixels in [-1, 1], or latents after shift and scale.

        What is random (which ones are mirrored, latents drawn from mean and deviation) follows from
        the draws of the images number `first` and on. Without draws nothing is mirrored, and latents are the mean.
        """
        mirrored = None if draws is None else self.mirrors(draws, first, len(index))
        return self.pick(index, mirrored, draws, first)

    def told(self, index: Tensor, x0: Tensor, uniform: Uniform) -> Conditions:
        """Return what the data's conditions tell of these images. x0: as the network sees them, without noise.

        uniform: draws for these images from a stream of that name.
        """
        told = {
            c.spec.name: c.condition.tell(None if kept is None else kept[index], x0, within(c.spec.name, uniform))
            for c, kept in zip(self.dataset.conditions, self._stored, strict=True)
        }
        return Conditions(told, (c.spec.name for c in self.dataset.conditions if c.spec.held))

    def mirrors(self, draws: RandomStreams, first: int, count: int) -> Tensor | None:
        """Draw which of the images number first and on are mirrored, (count,) bool; None where these data never are."""
        if not self.flip and self.mirrored is None:
            return None
        return draws.uniform("flip", first, count) < 0.5

    def pick(
        self, index: Tensor, mirrored: Tensor | None, draws: RandomStreams | None = None, first: int = 0
    ) -> Tensor:
        """Do the same, where it is known which ones are mirrored."""
        x = _take_rows(self.stored, index, self.device)
        if mirrored is not None:
            other = x.flip(-1) if self.mirrored is None else _take_rows(self.mirrored, index, self.device)
            x = torch.where(mirrored[:, None, None, None], other, x)
        if self.encoding is None:
            return x.float().div_(127.5).sub_(1)
        z = x.float()
        if self.encoding.sampled:
            mean, deviation = z.chunk(2, dim=1)
            z = mean
            if draws is not None:
                z = mean + deviation * draws.normal("encoding", first, mean.shape)
        return self._normalised(z)

    def _normalised(self, z: Tensor) -> Tensor:
        assert self.encoding is not None
        return z if self.encoding.normalised else (z - self.shift) * self.scale

    def _root_mean_square(self) -> float:
        """Measure sigma_data = √E[x²] of what the network sees, over some thousand images spread over the set.

        Not the deviation about the mean: EDM's coefficients and weights (Karras et al. 2022, table 1) bring
        E[(c_in·x)²] and a zero network's loss to 1 at every level only if σ_data² is E[x0²].
        """
        count = max(2, min(len(self), LOOKED_AT, VALUES // self.stored[0].numel()))
        index = torch.arange(count, device=self.device) * len(self) // count
        seen = self.take(index)
        if self.encoding is None or not self.encoding.sampled:
            return float(seen.square().mean().sqrt())
        spread = _take_rows(self.stored, index, self.device).float().chunk(2, dim=1)[1]
        if not self.encoding.normalised:
            spread = spread * self.scale
        return float((seen.square() + spread.square()).mean().sqrt())  # of the drawn latents: E[mean² + deviation²]


def _on_device(array: NDArray[np.uint8] | NDArray[np.floating], device: torch.device, resident: bool) -> Tensor:
    """Return the array on the device; where it is not to be resident, as it is: a memory map stays one."""
    if not resident:
        return torch.from_numpy(array)
    if isinstance(array, np.memmap):
        return torch.tensor(np.asarray(array), device=device)  # a file that is cut short would kill the process
    return torch.from_numpy(array).to(device)


def _take_rows(images: Tensor, index: Tensor, device: torch.device) -> Tensor:
    rows = images[index.to(images.device)]
    if device.type == "cuda" and not rows.is_cuda:
        return rows.pin_memory().to(device, non_blocking=True)  # the device copies while Python goes on
    return rows.to(device)
