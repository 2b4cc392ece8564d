"""A backbone with one parameter: what is left of a trial is what the engine costs."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ablate.api import Backbone, InputSpec, Range


class Gain(nn.Module):
    """F(x) = g·x."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Shaped like x."""
        return self.gain * x


class Noop(Backbone):
    """Learns one number; `knob` does nothing, so that there is something to search."""

    name = "noop"

    knob: Annotated[float, Field(ge=0, le=1), Range(0.0, 1.0)] = 0.5

    def build(self, setting: InputSpec) -> nn.Module:
        """One parameter."""
        return Gain()
