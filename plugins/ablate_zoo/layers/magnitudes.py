"""Magnitude preservation: layers that leave the mean square of what passes through as it is (Karras et al. 2024)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-4  # added to root mean squares
SILU = 0.596  # root mean square of SiLU(x) for x normal with mean 0 and variance 1


def mp_silu(x: Tensor) -> Tensor:
    """Magnitude-preserving SiLU: SiLU(x)/0.596 (Karras et al. 2024, eq. 81), in any shape."""
    return F.silu(x) / SILU


def activation_of(kind: str) -> type[nn.Module]:
    """Return the module of an activation: "silu" or "mp_silu"."""
    return {"silu": nn.SiLU, "mp_silu": MPSiLU}[kind]


class MPSiLU(nn.Module):
    """`mp_silu` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, the same."""
        return mp_silu(x)


def mp_sum(x: Tensor, h: Tensor, t: float) -> Tensor:
    """Magnitude-preserving sum: ((1 − t)·x + t·h)/√((1 − t)² + t²) (Karras et al. 2024, eq. 88).

    It has the mean square of x and h where both have the same and are uncorrelated. Both alike in shape; t in [0, 1].
    """
    return x.lerp(h.to(x.dtype), t) * (1 / math.hypot(1 - t, t))


def mp_weights(channels: int, skip_channels: int, t: float) -> tuple[float, float]:
    """Return what multiplies the two parts of a magnitude-preserving concatenation (Karras et al. 2024, eq. 103).

    Each part then adds to the mean square of the next layer by its share, (1 − t)² to t², whatever its channels are,
    and the whole keeps it.
    """
    whole = math.sqrt((channels + skip_channels) / ((1 - t) ** 2 + t**2))
    return whole * (1 - t) / math.sqrt(channels), whole * t / math.sqrt(skip_channels)


def pixel_norm(x: Tensor, dim: int = 1) -> Tensor:
    """Divide x by the root mean square over `dim`, of each pixel (or token) by itself; statistics are taken in fp32."""
    wide = torch.promote_types(x.dtype, torch.float32)
    size = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=wide) * (1 / math.sqrt(x.shape[dim]))
    return x / (size + EPSILON).to(x.dtype)


class Gain(nn.Module):
    """A learned factor for a whole layer, 0 before training unless it is told otherwise."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(start))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, the same."""
        return x * self.factor.to(x.dtype)


class UnitQueryKey(nn.Module):
    """Query-key norm without weights: each over its root mean square, so that a logit is √d·cos(q, k)."""

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """(B, heads, N, d) -> (B, heads, N, d)."""
        return pixel_norm(q, -1), pixel_norm(k, -1)


class UnitValues(nn.Module):
    """Values over their root mean square, head by head; then what else they pass through."""

    def __init__(self, then: nn.Module | None = None) -> None:
        super().__init__()
        self.then = then

    def forward(self, v: Tensor, layout: object) -> Tensor:
        """(B, heads, N, d) -> (B, heads, N, d)."""
        v = pixel_norm(v, -1)
        return v if self.then is None else self.then(v, layout)


class UnitLayer(nn.Module):
    """A layer with weight normalisation: the weights of each output have the norm 1 (Karras et al. 2024, section 2.3).

    The numbers that make one output add up in mean square, so that an input of mean square 1 whose parts are
    uncorrelated gives an output of mean square 1. What is trained, `raw_weight`, begins normal with variance 1;
    `weight` is what the layer multiplies by. forced: `after_step` brings `raw_weight` back to mean square 1 for each
    output, after each step of the optimizer (section 2.4, "forced weight normalization"): a step then turns the weights
    by an angle that does not shrink as they grow.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear | nn.Embedding, forced: bool) -> None:
        super().__init__()
        self.raw_weight = nn.Parameter(torch.randn_like(layer.weight))
        self.forced = forced
        self.inputs = (0,) if isinstance(layer, nn.Embedding) else tuple(range(1, layer.weight.ndim))  # what is summed
        bias = None if isinstance(layer, nn.Embedding) else layer.bias
        self.bias = None if bias is None else nn.Parameter(torch.zeros_like(bias))
        self.after_step()

    @property
    def weight(self) -> Tensor:
        """The weights, of norm 1 for each output. A table's, of mean square 1: one-hot inputs times √classes."""
        unit = self._unit()
        return unit if self.inputs == (0,) else unit * (1 / math.sqrt(self.raw_weight[0].numel()))

    def after_step(self) -> None:
        """Bring the weights back to mean square 1, where they are forced."""
        if self.forced and not self.raw_weight.is_meta:
            with torch.no_grad():
                self.raw_weight.copy_(self._unit())

    def _unit(self) -> Tensor:
        w = self.raw_weight
        count = math.prod(w.shape[i] for i in self.inputs)
        size = torch.linalg.vector_norm(w, dim=self.inputs, keepdim=True) * (1 / math.sqrt(count))
        return w / (size + EPSILON)


class UnitConv2d(UnitLayer):
    """A convolution of unit weights."""

    def __init__(self, layer: nn.Conv2d, forced: bool) -> None:
        super().__init__(layer, forced)
        self.stride, self.padding, self.groups = layer.stride, layer.padding, layer.groups

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)


class UnitLinear(UnitLayer):
    """A linear layer of unit weights."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., D)."""
        return F.linear(x, self.weight, self.bias)


class UnitEmbedding(UnitLayer):
    """A table of vectors, each number of mean square 1 over the classes."""

    def forward(self, index: Tensor) -> Tensor:
        """(B,) -> (B, D)."""
        return F.embedding(index, self.weight)


def normalise_weights(network: nn.Module, forced: bool) -> None:
    """Put layers of unit weights in the place of all convolutions, linear layers and embeddings below a module.

    Their initial weights are drawn anew: what was to begin at zero does not.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, UnitConv2d(child, forced))
            elif isinstance(child, nn.Linear | nn.Embedding):
                layer = UnitLinear if isinstance(child, nn.Linear) else UnitEmbedding
                setattr(parent, name, layer(child, forced))


def strip_biases(network: nn.Module) -> None:
    """Take the biases from all convolutions and linear layers below a module."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_parameter("bias", None)
