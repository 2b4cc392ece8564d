"""levels `logit_normal`: logit-normal timestep sampling, more in the middle than at both ends (Esser et al. 2024)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Levels, Schedule

if TYPE_CHECKING:
    from torch import Tensor

EDGE = 1e-12  # the density is zero at the ends; this keeps it from being 0/0 there


class LogitNormal(Levels):
    """Timestep t = sigmoid(z), z normal (Esser et al. 2024, "Scaling Rectified Flow Transformers", sec. 3.1)."""

    name = "logit_normal"

    mean: Annotated[float, Field(ge=-10, le=10)] = 0.0
    std: Annotated[float, Field(gt=0, le=10)] = 1.0

    def draw(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        """The sigmoid of the normal quantile."""
        import torch

        return (self.mean + self.std * torch.special.ndtri(uniform.double())).sigmoid()

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """The normal density of logit(t), over t·(1 − t)."""
        inside = t.double().clamp(EDGE, 1 - EDGE)
        z = (inside.logit() - self.mean) / self.std
        return (-z.square() / 2).exp() / (math.sqrt(2 * math.pi) * self.std * inside * (1 - inside))
