"""Adapters that are wrong; `fails`: which checks tell."""

from typing import ClassVar

import torch
from torch import nn

from ablate.api import Adapter


class Biases(Adapter):
    """An adapter without a fault, of a form that the zoo does not have: biases alone are trained."""

    name = "biases"
    freezes: ClassVar[bool] = True
    fails: ClassVar = ()

    def requires(self):
        return {"trained_start": "frozen weights have to be trained ones"}

    def apply(self, network):
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))


class Shaken(Biases):
    """It changes what the network gives."""

    name = "shaken"
    fails: ClassVar = ("changes_nothing_before_training",)

    def apply(self, network):
        super().apply(network)
        with torch.no_grad():
            network[-1].bias.add_(1.0)


class Silent(Biases):
    """It freezes weights, and does not ask for trained ones."""

    name = "silent"
    fails: ClassVar = ("trains_what_it_says",)

    def requires(self):
        return {}


class Unlike(Biases):
    """What it puts in is random, and not in the state."""

    name = "unlike"
    fails: ClassVar = ("keeps_its_state",)

    def apply(self, network):
        super().apply(network)
        network.append(Shift())


class Shift(nn.Module):
    """Adds a number so small that nothing seems to change."""

    def __init__(self):
        super().__init__()
        self.number = torch.rand(()) * 1e-6

    def forward(self, x):
        return x + self.number


class Elsewhere(Biases):
    """On the meta device it trains all."""

    name = "elsewhere"
    fails: ClassVar = ("works_without_numbers",)

    def apply(self, network):
        if not next(network.parameters()).is_meta:
            super().apply(network)
