"""Modules that objectives build: each gives the terms of a batch, {name: (B,) fp32}."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import PREDICTION, Labels, Level, Model, Noised, Told, over, told_record


class DenoisingLoss(nn.Module):
    """The candidate's loss at the noised batch."""

    def forward(self, noised: Noised, labels: Labels, model: Model) -> dict[str, Tensor]:
        """One term, `denoise`."""
        prediction = model.predict(noised.x, noised.level, labels)
        loss = model.loss.compute(prediction, noised, model.process)
        learned = model.process.log_variance(noised.level)
        return {"denoise": loss if learned is None else loss + learned}


class MeanFlowLoss(nn.Module):
    """The mean velocity u(x, r, t) against v − (t − r)·du/dt, whose fixed point it is.

    apart: the share of images with r < t. The squared error Δ² of an image is divided by (Δ² + floor)^power, without a
    gradient of that. scale, kappa: of the guidance within v; None without one.
    """

    def __init__(self, apart: float, power: float, floor: float, guidance: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.apart, self.power, self.floor = apart, power, floor
        self.guidance = guidance

    def forward(self, noised: Noised, labels: Labels, model: Model) -> dict[str, Tensor]:
        """One term, `mean_flow`."""
        level, towards = self.times(noised, model)
        process, channels = model.process, noised.x0.shape[1]
        x = process.diffuse(noised.x0, noised.noise, level).x
        velocity = process.target.value(noised.x0, noised.noise, level)
        if self.guidance is not None and labels is not None:
            velocity = self.guided(velocity, x, level, labels, model)
        _, slope = model.derivative(x, level.t, labels, velocity, towards)
        wanted = velocity - over(level.t - towards.t, x) * slope[:, :channels]
        mean = model.predict(x, level, labels, towards)[:, :channels]
        error = (mean - wanted).float().square().flatten(1).sum(1)
        return {"mean_flow": error / (error.detach() + self.floor) ** self.power}

    def guided(self, velocity: Tensor, x: Tensor, level: Level, labels: Labels, model: Model) -> Tensor:
        """Return ω·v + κ·u(x, t, t | class) + (1 − ω − κ)·u(x, t, t); v itself where the class is dropped."""
        assert self.guidance is not None
        (scale, kappa), channels = self.guidance, x.shape[1]
        guided = scale * velocity
        for share, condition in ((kappa, labels), (1 - scale - kappa, model.dropped(labels))):
            if share != 0:
                guided = guided + share * model.detached(x, level, condition, level)[:, :channels]
        return torch.where(model.is_dropped(labels)[:, None, None, None], velocity, guided)

    def times(self, noised: Noised, model: Model) -> tuple[Level, Level]:
        """Return t and r <= t: of two draws of the candidate's levels the later and the earlier, or twice the later."""
        first, second = noised.level.t, model.level(model.uniform("second level", noised)).t
        late, early = torch.maximum(first, second), torch.minimum(first, second)
        together = model.uniform("levels apart", noised) >= self.apart
        return model.process.level(late), model.process.level(torch.where(together, late, early))


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


class SelfConditionedLoss(DenoisingLoss):
    """The candidate's loss of a network that is told, for a share of the images, what it finds without being told."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, noised: Noised, labels: Labels, model: Model) -> dict[str, Tensor]:
        """One term, `denoise`."""
        before = model.detached(noised.x, noised.level, labels)
        found = model.process.denoised(before, noised.x, noised.level).x0
        which = model.uniform("self-conditioning", noised) < self.rate
        told = told_record(labels).tell(PREDICTION, Told(found, which), held=True)
        return super().forward(noised, told, model)


class DistillationLoss(nn.Module):
    """The candidate's loss, with the image in the place of x0 of which one step leads where two of the teacher lead."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, noised: Noised, labels: Labels, model: Model) -> dict[str, Tensor]:
        """One term, `distill`."""
        place = (noised.level.t * self.steps).ceil().clamp(1, self.steps)
        level = model.process.level(place / self.steps)
        x = model.process.diffuse(noised.x0, noised.noise, level).x
        wanted = self.wanted(x, place, labels, model)
        loss = model.loss.compute(model.predict(x, level, labels), wanted, model.process)
        learned = model.process.log_variance(level)
        return {"distill": loss if learned is None else loss + learned}

    def wanted(self, x: Tensor, place: Tensor, labels: Labels, model: Model) -> Noised:
        """Return x at the time place/steps as an image and noise whose one DDIM step is two of the teacher's."""
        process, state, start = model.process, x, model.process.level(place / self.steps)
        level, end = start, start
        for half in (0.5, 1.0):
            end = self.clean_at_zero(process.level((place - half) / self.steps))
            denoised = process.denoised(model.teacher(state, start, labels), state, start)
            state = over(end.alpha, x) * denoised.x0 + over(end.sigma, x) * denoised.noise
            start = end
        ratio = end.sigma / level.sigma
        image = (state - over(ratio, x) * x) / over(end.alpha - ratio * level.alpha, x)
        noise = (x - over(level.alpha, x) * image) / over(level.sigma, x)
        return Noised(image, noise, x, level)

    @staticmethod
    def clean_at_zero(level: Level) -> Level:
        """Return the level, at time 0 that of the image itself, as solvers take it for every schedule."""
        clean = level.t == 0
        return Level(level.t, level.alpha.masked_fill(clean, 1.0), level.sigma.masked_fill(clean, 0.0))
