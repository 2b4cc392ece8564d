"""Attention over sequences of tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class QueryKey(nn.Module):
    """Hands queries and keys on as they are, just before their product is taken.

    A submodule of this name, `query_key`, is where a probe sees what attends to what: (q, k) of shape
    (B, heads, N, d) and (B, heads, M, d), whose logits are `scale`·q·kᵀ. None stands for 1/√d.
    """

    def __init__(self, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """The same two."""
        return q, k


class SelfAttention(nn.Module):
    """softmax(QKᵀ/√d)V over all tokens, then a projection (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.query_key = QueryKey()
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)  # (B, heads, N, d)
        attended = F.scaled_dot_product_attention(*self.query_key(q, k), v)
        return self.out(attended.transpose(1, 2).reshape(b, n, d))


class CrossAttention(nn.Module):
    """Tokens look at a condition: Q from x, K and V from the condition's sequence."""

    def __init__(self, width: int, condition: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(condition, 2 * width)
        self.query_key = QueryKey()
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, condition: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D), (B, L, E), (B, L) bool or None -> (B, N, D); masked-out tokens are not looked at."""
        b, n, d = x.shape
        q = self.query(x).view(b, n, self.heads, d // self.heads).transpose(1, 2)  # (B, heads, N, d)
        k, v = self.key_value(condition).view(b, -1, 2, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        visible = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, L)
        attended = F.scaled_dot_product_attention(*self.query_key(q, k), v, attn_mask=visible)
        return self.out(attended.transpose(1, 2).reshape(b, n, d))


def xavier(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every linear layer below, as transformers are begun."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def zero(layer: nn.Linear) -> nn.Linear:
    """The layer with all its numbers at zero: what it is added to starts unchanged."""
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    return layer
