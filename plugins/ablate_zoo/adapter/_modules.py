"""Linear layers with a low-rank product beside frozen weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-12


class AdaptedLinear(nn.Module):
    """A linear layer whose weight is W + scale·BA, W frozen; with a magnitude: m·(W + scale·BA)/‖W + scale·BA‖.

    `weight` is what the layer multiplies by, as everywhere. magnitude: whether m is learned, one number an output.
    """

    def __init__(self, layer: nn.Linear, rank: int, alpha: float, magnitude: bool) -> None:
        super().__init__()
        rank = min(rank, layer.in_features, layer.out_features)
        self.scale = alpha / rank
        self.frozen = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        inner = layer.weight.new_empty(rank, layer.in_features)
        nn.init.kaiming_uniform_(inner, a=math.sqrt(5))
        self.inner_weight = nn.Parameter(inner)  # A
        self.outer_weight = nn.Parameter(layer.weight.new_zeros(layer.out_features, rank))  # B
        size = torch.linalg.vector_norm(self.frozen, dim=1, keepdim=True)
        self.magnitude = nn.Parameter(size) if magnitude else None

    @property
    def in_features(self) -> int:
        """Numbers that go in."""
        return self.frozen.shape[1]

    @property
    def out_features(self) -> int:
        """Numbers that come out."""
        return self.frozen.shape[0]

    @property
    def weight(self) -> Tensor:
        """(outputs, inputs)."""
        moved = torch.addmm(self.frozen, self.outer_weight, self.inner_weight, alpha=self.scale)
        if self.magnitude is None:
            return moved
        size = torch.linalg.vector_norm(moved, dim=1, keepdim=True).detach()
        return moved * (self.magnitude / (size + EPSILON))

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., D)."""
        return F.linear(x, self.weight, self.bias)


def adapt(network: nn.Module, rank: int, alpha: float, magnitude: bool) -> None:
    """Freeze a network, and put an adapted layer in the place of each linear one. Raises ValueError where none is."""
    places = [
        (module, name, child)
        for module in network.modules()
        for name, child in module.named_children()
        if type(child) is nn.Linear
    ]
    if not places:
        raise ValueError("the network has no linear layers beside which something could be trained")
    network.requires_grad_(False)
    adapted: dict[int, AdaptedLinear] = {}  # a layer that is shared stays so
    for module, name, layer in places:
        if id(layer) not in adapted:
            adapted[id(layer)] = AdaptedLinear(layer, rank, alpha, magnitude)
        setattr(module, name, adapted[id(layer)])
