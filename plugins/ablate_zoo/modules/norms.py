"""Norms of tokens, and of queries and keys."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
