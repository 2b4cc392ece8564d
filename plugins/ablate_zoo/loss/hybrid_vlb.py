"""loss `hybrid_vlb`: mean squared error, and the variational lower bound for a learned variance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import DiscreteSchedule, Loss, Noised, Process, Range, over, posterior

if TYPE_CHECKING:
    from torch import Tensor

BIN = 1 / 255  # half the distance of two of the 256 values in [-1, 1]


class HybridVlb(Loss):
    """Hybrid loss L = w·mse + λ·T·L_t of improved DDPM (Nichol & Dhariwal 2021, eq. 16).

    L_t, in bits per dimension, is the divergence of the model's step from the true posterior, with
    the variance exp(f·log β + (1 − f)·log β̃), f = (raw + 1)/2; below the first step it is the
    likelihood of the 8-bit pixels. The mean in it carries no gradient: the bound trains the variance
    alone. T·L_t estimates the whole bound for levels that are uniform in t.
    """

    name = "hybrid_vlb"

    bound: Annotated[float, Field(gt=0, le=1), Range(1e-4, 1e-2, log=True)] = 0.001  # λ

    def provides(self) -> frozenset[str]:
        """Training for the variance."""
        return frozenset({"variance_loss"})

    def requires(self) -> Mapping[str, str]:
        """A variance to train, and steps to bound."""
        return {
            "learned_variance": "the bound trains the variance that the network gives",
            "discrete": "the bound is a sum over the steps of a discrete schedule, such as 'linear'",
        }

    def compute(self, prediction: Tensor, batch: Noised, process: Process) -> Tensor:
        """The loss of each image, (B,) fp32."""
        channels = batch.x0.shape[1]
        mean, raw = prediction[:, :channels].float(), prediction[:, channels:].float()
        target = process.target.value(batch.x0, batch.noise, batch.level).float()
        error = (mean - target).square().flatten(1).mean(1) * process.target_weight(batch.level).to(mean)
        bound = step_bound(mean.detach(), raw, batch, process)
        return error + self.bound * steps_of(process) * bound.flatten(1).mean(1)


def steps_of(process: Process) -> int:
    """Return the number of steps T of a discrete schedule."""
    assert isinstance(process.schedule, DiscreteSchedule)
    return process.schedule.steps


def step_bound(mean: Tensor, raw: Tensor, batch: Noised, process: Process) -> Tensor:
    """Compute the variational bound L_t of each pixel in bits, (B, C, H, W).

    mean: the prediction in the target's own terms; raw: the network's variance, nominally in [-1, 1].
    """
    import torch

    level, x0, x = batch.level, batch.x0.float(), batch.x.float()
    width = 1 / (steps_of(process) - 1)
    first = level.t < width  # from here a step leads to the image itself
    to = process.level((level.t - width).clamp(min=0))
    second = process.level(torch.full_like(level.t, width))
    origin = process.level(torch.zeros_like(level.t))
    back = posterior(level.alpha, level.sigma, to.alpha, to.sigma)
    # β̃ is zero in the first step, where that of the second stands in for it
    floor = posterior(second.alpha, second.sigma, origin.alpha, origin.sigma).small
    log_small = torch.where(first, floor, back.small).log()
    log_large = torch.where(first, level.sigma**2, back.large).log()

    predicted = process.denoised(mean, x, level).x0
    share = (raw + 1) / 2
    log_variance = share * over(log_large, x) + (1 - share) * over(log_small, x)
    gap = over(back.on_x0, x) * (x0 - predicted)
    divergence = 0.5 * (
        log_variance
        - over(log_small, x)
        + (over(log_small, x) - log_variance).exp()
        - 1
        + gap.square() * (-log_variance).exp()
    )
    likelihood = -log_likelihood(x0, predicted, log_variance)
    return torch.where(first.reshape(-1, *[1] * (x.ndim - 1)), likelihood, divergence) / math.log(2)


def log_likelihood(x0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute the log of a normal distribution's share of the bin of an 8-bit value; the outer bins are open."""
    import torch

    scale = (-log_variance / 2).exp()
    above = torch.special.ndtr((x0 - mean + BIN) * scale)
    below = torch.special.ndtr((x0 - mean - BIN) * scale)
    above = torch.where(x0 > 1 - BIN, torch.ones_like(above), above)
    below = torch.where(x0 < BIN - 1, torch.zeros_like(below), below)
    return (above - below).clamp(min=1e-12).log()
