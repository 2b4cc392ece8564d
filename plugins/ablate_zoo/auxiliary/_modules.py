"""Modules that auxiliaries build: each gives one number an image, (B,) fp32."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Labels, Model, Noised


class DispersiveLoss(nn.Module):
    """log E[exp(−D(z_i, z_j)/τ)] over all pairs of a batch, the same for each image."""

    def __init__(self, site: str, distance: str, temperature: float) -> None:
        super().__init__()
        self.site = site
        self.distance = distance
        self.temperature = temperature

    def forward(self, noised: Noised, labels: Labels, model: Model) -> Tensor:
        """(B,)."""
        z = model.activation(self.site).flatten(1).float()
        if self.distance == "l2":
            squares = z.square().sum(1)
            apart = (squares[:, None] + squares - 2 * z @ z.T).clamp(min=0) / z.shape[1]
            apart = apart * (1 - torch.eye(len(z), device=z.device))  # exactly 0 to itself, whatever the rounding
        else:
            unit = F.normalize(z, dim=1)
            apart = -unit @ unit.T
        pairs = (-apart / self.temperature).flatten()
        return (pairs.logsumexp(0) - math.log(len(pairs))).expand(len(z))


class ContrastiveLoss(nn.Module):
    """−w · mean((ŷ − ỹ)²), ỹ the target of the next image of the batch at this one's level."""

    def forward(self, noised: Noised, labels: Labels, model: Model) -> Tensor:
        """(B,)."""
        prediction = model.prediction[:, : noised.x0.shape[1]].float()
        other = model.process.target.value(noised.x0.roll(1, 0), noised.noise.roll(1, 0), noised.level).float()
        error = (prediction - other).square().flatten(1).mean(1)
        return -error * model.process.target_weight(noised.level).to(error)
