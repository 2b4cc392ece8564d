"""The module of the objective `distill`: one step of the student against two of its teacher."""

from __future__ import annotations

from torch import Tensor, nn

from ablate.api import Labels, Level, Model, Noised, over


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
