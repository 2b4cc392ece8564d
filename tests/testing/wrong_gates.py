"""Gates that are wrong; `fails` says which checks have to tell."""

from typing import ClassVar

import torch
from torch import nn

from ablate.api import Gate


class Sigmoid(nn.Module):
    """A logit a channel from the means of the skip, and one fault."""

    def __init__(self, channels, way):
        super().__init__()
        self.way = way
        self.linear = nn.Linear(channels, channels)
        self.rise = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mark", torch.rand(1), persistent=False)

    def forward(self, d, s, context):
        means = s.mean((2, 3))
        if self.way == "mixing":
            means = means - means.mean(0)
        logit = self.linear(means) + self.rise * torch.asinh(context.noise)[:, None]
        if self.way == "forgetful":
            logit = logit + self.mark
        if self.way == "cut off":
            logit = logit.detach() + self.linear.bias
        g = logit if self.way == "open" else logit.float().sigmoid()
        return g[..., None] if self.way == "flat" else g[..., None, None]


class Right(Gate):
    """A gate without a fault."""

    name = "right"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def build(self, channels, skip_channels, embedding):
        return Sigmoid(skip_channels, self.way)


class Unbounded(Right):
    """Logits, in half precision under autocast."""

    name = "unbounded"
    way = "open"
    fails: ClassVar = ("gives_numbers_from_0_to_1",)


class Flat(Right):
    """Three dimensions."""

    name = "flat"
    way = "flat"
    fails: ClassVar = ("gives_numbers_from_0_to_1",)


class Blending(Right):
    """Images in a batch influence each other."""

    name = "blending"
    way = "mixing"
    fails: ClassVar = ("decides_for_each_image_alone",)


class Cut(Right):
    """Weights that no gradient reaches."""

    name = "cut"
    way = "cut off"
    fails: ClassVar = ("is_reached_by_gradients",)


class Forgetful(Right):
    """A state that no state dict holds."""

    name = "forgetful"
    way = "forgetful"
    fails: ClassVar = ("keeps_the_state_of_its_module",)


class Opening(Right):
    """A claim that training may break."""

    name = "opening"
    fails: ClassVar = ("never_opens_with_noise_where_it_says_so",)

    def provides(self):
        return frozenset({"monotone_in_noise"})
