"""Norms of tokens, and of queries and keys."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Context, Modulation
from ablate_zoo.layers.attention import zero

if TYPE_CHECKING:
    from collections.abc import Sequence

EPSILON = 1e-6  # as in DiT


class RMSNorm(nn.RMSNorm):
    """x/√(mean x² + ε) over the last dimension (Zhang & Sennrich 2019), computed in the scale's own precision."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return super().forward(x if self.weight is None else x.to(self.weight.dtype))


def norm(kind: str, width: int, affine: bool) -> nn.Module:
    """Over the last dimension: "layer" (Ba et al. 2016) or "rms".

    affine: with a scale of its own, and for "layer" a shift.
    """
    made = {"layer": nn.LayerNorm, "rms": RMSNorm}[kind]
    return made(width, eps=EPSILON, elementwise_affine=affine)


class RMSQueryKey(nn.Module):
    """Queries and keys each over their root mean square, with a learned scale a feature (Esser et al. 2024).

    Without the scales no logit is larger than √d, d the width of a head.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = norm("rms", size, affine=True)
        self.key = norm("rms", size, affine=True)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """(B, heads, N, d) -> (B, heads, N, d)."""
        return self.query(q), self.key(k)


class CosineQueryKey(nn.Module):
    """The logit is s·cos(q, k), s learned a head, 10 at the start and 100 at most (Liu et al. 2022, section 3.3).

    Attention divides by √d; that is made up for here.
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
    """For heads of that size: "none", "cosine" or "rms"."""
    return {"none": lambda: None, "cosine": lambda: CosineQueryKey(heads), "rms": lambda: RMSQueryKey(size)}[kind]()


def modulate(h: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
    """h·(1 + scale) + shift over tokens: (B, N, D) with (B, D)."""
    if scale is not None and shift is not None:
        return shift.unsqueeze(1).addcmul(h, 1 + scale.unsqueeze(1))
    if scale is not None:
        return h * (1 + scale.unsqueeze(1))
    return h if shift is None else h + shift.unsqueeze(1)


def gated_sum(x: Tensor, gate: Tensor | None, h: Tensor) -> Tensor:
    """The sum x + gate·h over tokens, (B, N, D) with (B, D); without a gate x + h."""
    return x + h if gate is None else torch.addcmul(x, gate.unsqueeze(1), h)


class AdaptiveModulation(nn.Module):
    """SiLU, then one linear layer that regresses the named parts of every branch (DiT, figure 3)."""

    def __init__(
        self, embedding: int, width: int, branches: int, parts: Sequence[str], begin_at_zero: bool = True
    ) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.branches = branches
        self.linear = nn.Linear(embedding, len(self.parts) * branches * width)
        if begin_at_zero:
            zero(self.linear)

    def forward(self, context: Context) -> tuple[Modulation, ...]:
        """One Modulation a branch, each part (B, width)."""
        regressed = self.linear(nn.functional.silu(context.embedding))
        chunks = iter(regressed.chunk(len(self.parts) * self.branches, dim=-1))
        return tuple(Modulation(**{part: next(chunks) for part in self.parts}) for _ in range(self.branches))
