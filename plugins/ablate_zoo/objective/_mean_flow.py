"""The module of the objective `mean_flow`: the error of mean velocities, guided or not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Labels, Level, Model, Noised, over


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
