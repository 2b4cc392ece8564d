"""Attention whose cost grows with the number of tokens, not with its square."""

from __future__ import annotations

from torch import Tensor, nn


class LinearAttention(nn.Module):
    """softmax(Q)·(softmax(K)ᵀV): Q over its features, K over the tokens (Shen et al. 2021, "Efficient Attention").

    The same weights as softmax attention: one projection to Q, K and V, and one back.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)  # (B, heads, N, d)
        summary = k.softmax(dim=-2).transpose(-2, -1) @ v  # (B, heads, d, d)
        attended = q.softmax(dim=-1) @ summary.to(q.dtype)
        return self.out(attended.transpose(1, 2).reshape(b, n, d))
