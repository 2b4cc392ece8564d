"""What stands around a residual branch: norms, adaptive modulation (adaLN, FiLM), gated sum, stochastic depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Context, Modulation
from ablate_zoo.layers.attention import zero
from ablate_zoo.layers.magnitudes import Gain, UnitQueryKey, activation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EPSILON = 1e-6  # as in DiT


class RMSNorm(nn.RMSNorm):
    """RMS norm: x/√(mean x² + ε) over the last dimension (Zhang & Sennrich 2019), in the scale's own precision."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return super().forward(x if self.weight is None else x.to(self.weight.dtype))


class OverTime(nn.Module):
    """A vector that depends on the noise level: s·p₁ + (1 − s)·p₂, s = sigmoid(w·asinh(noise) + b) (Liu et al. 2024).

    Both p begin at `start`, w at 1 and b at 0.
    """

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.full((width,), start))
        self.second = nn.Parameter(torch.full((width,), start))
        self.slope = nn.Parameter(torch.ones(width))
        self.offset = nn.Parameter(torch.zeros(width))

    def forward(self, noise: Tensor) -> Tensor:
        """(B,) -> (B, width)."""
        time = torch.asinh(noise.float())[:, None].to(self.slope.dtype)
        return torch.lerp(self.second, self.first, torch.sigmoid(torch.addcmul(self.offset, time, self.slope)))


class TimeDependentNorm(nn.Module):
    """Layer norm, or RMS norm, whose scale and shift depend on the noise level: γ(t)·x̂ + β(t) (Liu et al. 2024, TD-LN).

    affine: without, it is the plain norm. centred: layer norm; else RMS norm, which has no shift.
    """

    def __init__(self, width: int, affine: bool, eps: float = EPSILON, centred: bool = True) -> None:
        super().__init__()
        plain = nn.LayerNorm if centred else nn.RMSNorm
        self.norm = plain(width, eps=eps, elementwise_affine=False)
        self.scale = OverTime(width, 1.0) if affine else None
        self.shift = OverTime(width, 0.0) if affine and centred else None

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """(B, ..., D), (B,) -> (B, ..., D)."""
        x = self.norm(x)
        if self.scale is None:
            return x
        lie = (len(noise), *[1] * (x.ndim - 2), -1)
        scale = self.scale(noise).view(lie)
        return x * scale if self.shift is None else torch.addcmul(self.shift(noise).view(lie), x, scale)


class Affine(nn.Module):
    """Scale and shift of each number, s·x + b, begun as x (Touvron et al. 2021, ResMLP, eq. 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return torch.addcmul(self.bias, x, self.weight)


def group_norm(x: Tensor) -> Tensor:
    """Group norm without an affine map: zero mean, unit variance within groups of channels (Wu & He 2018).

    (B, C, H, W) -> the same shape and dtype; statistics are taken in fp32. The groups are as many as divide
    C and leave at least 4 channels to each, 32 at most. A group of one number becomes 0.
    """
    channels = x.shape[1]
    most = max(1, min(32, channels // 4))
    groups = next(g for g in range(most, 0, -1) if channels % g == 0)
    return F.group_norm(x, groups, eps=EPSILON).to(x.dtype)  # autocast on a GPU gives fp32


class RMSQueryKey(nn.Module):
    """Query-key norm: each over its root mean square, with a learned scale for each feature (Esser et al. 2024).

    Without the scales no logit is larger than √d, d the width of a head.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = RMSNorm(size, eps=EPSILON)
        self.key = RMSNorm(size, eps=EPSILON)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """(B, heads, N, d) -> (B, heads, N, d)."""
        return self.query(q), self.key(k)


class CosineQueryKey(nn.Module):
    """Cosine attention: the logit is s·cos(q, k), s learned for each head (Liu et al. 2022, section 3.3).

    s is 10 at the start and 100 at most. Attention divides by √d; that is made up for here.
    """

    START, MOST = 10.0, 100.0

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(self.START)))

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """(B, heads, N, d) -> (B, heads, N, d)."""
        scale = self.log_scale.clamp(max=math.log(self.MOST)).exp() * math.sqrt(q.shape[-1])
        return F.normalize(q, dim=-1, eps=EPSILON) * scale, F.normalize(k, dim=-1, eps=EPSILON)


def query_key_norm(kind: str, heads: int, size: int) -> nn.Module | None:
    """Build the query-key norm for heads of that size: "none", "cosine", "rms" or "unit"."""
    norms: dict[str, Callable[[], nn.Module | None]] = {
        "none": lambda: None,
        "cosine": lambda: CosineQueryKey(heads),
        "rms": lambda: RMSQueryKey(size),
        "unit": UnitQueryKey,
    }
    return norms[kind]()


def over_tokens(part: Tensor) -> Tensor:
    """Return a part of a modulation as one for tokens: (B, D) -> (B, 1, D); what is of each token, as it is."""
    return part.unsqueeze(1) if part.ndim == 2 else part


def modulate(h: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
    """FiLM, the modulation of adaptive layer norm: h·(1 + scale) + shift, (B, N, D) with (B, D) or alike."""
    if scale is not None and shift is not None:
        return over_tokens(shift).addcmul(h, 1 + over_tokens(scale))
    if scale is not None:
        return h * (1 + over_tokens(scale))
    return h if shift is None else h + over_tokens(shift)


def modulate_maps(h: Tensor, how: Modulation) -> Tensor:
    """FiLM, the modulation of adaptive group norm: h·(1 + scale) + shift over maps, (B, C, H, W) with (B, C)."""
    scale = None if how.scale is None else 1 + how.scale[:, :, None, None]
    shift = None if how.shift is None else how.shift[:, :, None, None]
    if scale is not None and shift is not None:
        return torch.addcmul(shift, h, scale)
    if scale is not None:
        return h * scale
    return h if shift is None else h + shift


def gated_sum(x: Tensor, gate: Tensor | None, h: Tensor) -> Tensor:
    """Gated residual sum x + gate·h over tokens, (B, N, D) with (B, D) or alike; without a gate x + h."""
    return x + h if gate is None else torch.addcmul(x, over_tokens(gate), h)


def stochastic_depth(branch: Tensor, share: float) -> Tensor:
    """Stochastic depth (drop path): zero an image's whole residual branch with probability `share` (Huang et al. 2016).

    (B, ...) -> the same shape; what is kept is scaled by 1/(1 − share), so that the mean stays. For training alone.
    """
    mask = torch.empty(len(branch), *[1] * (branch.ndim - 1), dtype=branch.dtype, device=branch.device)
    return branch * mask.bernoulli_(1 - share).div_(1 - share)


class AdaptiveModulation(nn.Module):
    """Adaptive norm (adaLN, adaGN): SiLU and a linear layer regress shift, scale, gate or bias (DiT, figure 3).

    parts: which of them, in order, for each of so many residual branches. activate: whether the SiLU is there.
    """

    def __init__(
        self,
        embedding: int,
        width: int,
        branches: int,
        parts: Sequence[str],
        begin_at_zero: bool = True,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.branches = branches
        self.activate = activate
        self.linear = nn.Linear(embedding, len(self.parts) * branches * width)
        if begin_at_zero:
            zero(self.linear)

    def forward(self, context: Context) -> tuple[Modulation, ...]:
        """One Modulation a branch, each part (B, width)."""
        e = context.embedding
        regressed = self.linear(nn.functional.silu(e) if self.activate else e)
        chunks = iter(regressed.chunk(len(self.parts) * self.branches, dim=-1))
        return tuple(Modulation(**{part: next(chunks) for part in self.parts}) for _ in range(self.branches))


class ScaleModulation(nn.Module):
    """Scale-only modulation of residual branches: g·W·a(e), g a learned number or 1 (Karras et al. 2024)."""

    def __init__(self, embedding: int, width: int, branches: int, gain: bool, activation: str) -> None:
        super().__init__()
        self.branches = branches
        self.activation = activation_of(activation)()
        self.linear = nn.Linear(embedding, branches * width)
        self.gain = Gain() if gain else nn.Identity()

    def forward(self, context: Context) -> tuple[Modulation, ...]:
        """One Modulation a branch, its scale (B, width)."""
        scales = self.gain(self.linear(self.activation(context.embedding)))
        return tuple(Modulation(scale=scale) for scale in scales.chunk(self.branches, dim=-1))
