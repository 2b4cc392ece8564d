"""The module of the objective `consistency`: the distance between images that are predicted at two levels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Labels, Model, Noised


class ConsistencyLoss(nn.Module):
    """The image that is predicted at a level against that at the next cleaner one, of the same image and noise.

    The levels are those of a grid of N times, and N doubles from `first` to `last` over the training. huber: None is
    the squared error.
    """

    def __init__(self, first: int, last: int, huber: float | None, averaged: bool) -> None:
        super().__init__()
        self.first, self.last, self.huber, self.averaged = first, last, huber, averaged

    def forward(self, noised: Noised, labels: Labels, model: Model) -> dict[str, Tensor]:
        """One term, `consistency`."""
        process, count = model.process, self.count(model.progress)
        place = (noised.level.t * count).ceil().clamp(1, count)
        images = []
        for at, predict in ((place, model.predict), (place - 1, model.averaged if self.averaged else model.detached)):
            level = process.level(at / count)
            x = process.diffuse(noised.x0, noised.noise, level).x
            predicted = process.denoised(predict(x, level, labels), x, level).x0
            clean = (at == 0)[:, None, None, None]  # there the image is known: it is x itself
            images.append(torch.where(clean, noised.x0, predicted).float().flatten(1))
        error = (images[0] - images[1]).square().sum(1)
        if self.huber is None:
            return {"consistency": error / images[0].shape[1]}
        c = self.huber * images[0].shape[1] ** 0.5
        return {"consistency": (error + c**2).sqrt() - c}

    def count(self, progress: float) -> int:
        """Return N after a share of the training: it doubles as often, evenly, as lies between `first` and `last`."""
        doublings = (self.last // self.first).bit_length()  # stages, the first included
        return min(self.last, self.first << min(int(progress * doublings), doublings - 1))
