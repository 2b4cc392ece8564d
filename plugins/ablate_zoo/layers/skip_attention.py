"""Cross-attention from decoder to skip connection: over all of a pooled skip, or within windows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate_zoo.layers.norms import group_norm


class SkipAttention(nn.Module):
    """Cross-attention W·softmax(QKᵀ/√h)V, Q from Norm(d), K and V from Norm(s); by content alone, without positions.

    most: the skip is average-pooled to at most so many keys. window: instead, each pixel looks at those in
    its own window of at most window × window, at full resolution. Both cost O(H·W). Any H, W ≥ 1.
    Heads are head_width wide; there are channels/head_width of them, rounded, at least one. W is zero at the
    start.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        outputs: int,
        head_width: int = 32,
        most: int = 256,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.heads = max(1, round(channels / head_width))
        inner = self.heads * head_width
        self.most, self.window = most, window
        self.query = nn.Linear(channels, inner)
        self.key_value = nn.Linear(skip_channels, 2 * inner)
        self.out = nn.Linear(inner, outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, d: Tensor, s: Tensor) -> Tensor:
        """(B, channels, H, W), (B, skip_channels, H, W) -> (B, outputs, H, W)."""
        d, s = group_norm(d), group_norm(s)
        b, _, height, width = d.shape
        if self.window is None:
            keys = pool(s, self.most)
            attended = self._attend(d.flatten(2).transpose(1, 2), keys.flatten(2).transpose(1, 2))
            return attended.transpose(1, 2).reshape(b, -1, height, width)
        side = tuple(math.ceil(n / math.ceil(n / self.window)) for n in (height, width))  # as even as they can be
        attended = self._attend(to_windows(d, side), to_windows(s, side), window_mask(height, width, side, b, d.device))
        return from_windows(attended, side, b, height, width)

    def _attend(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, channels), (B, L, skip_channels) -> (B, N, outputs)."""
        b, n, _ = x.shape
        q = self.query(x).view(b, n, self.heads, -1).transpose(1, 2)  # (B, heads, N, h)
        k, v = self.key_value(y).view(b, y.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(attended.transpose(1, 2).reshape(b, n, -1))


def pool(s: Tensor, most: int) -> Tensor:
    """Average-pool over squares of the least side that leaves at most `most` places: (B, C, H, W) -> (B, C, h, w)."""
    height, width = s.shape[2:]
    side = max(1, math.isqrt(height * width // most))
    while math.ceil(height / side) * math.ceil(width / side) > most:
        side += 1
    if side == 1:
        return s
    # What remains at an edge is a smaller square: the mean is over what is there.
    return F.avg_pool2d(s, (min(side, height), min(side, width)), ceil_mode=True, count_include_pad=False)


def to_windows(x: Tensor, side: tuple[int, ...]) -> Tensor:
    """Cut into windows, (B, C, H, W) -> (B·windows, h·w, C); beyond the edge, zeros."""
    b, c, height, width = x.shape
    rows, columns = math.ceil(height / side[0]), math.ceil(width / side[1])
    x = F.pad(x, (0, columns * side[1] - width, 0, rows * side[0] - height))
    x = x.reshape(b, c, rows, side[0], columns, side[1]).permute(0, 2, 4, 3, 5, 1)
    return x.reshape(b * rows * columns, side[0] * side[1], c)


def from_windows(x: Tensor, side: tuple[int, ...], b: int, height: int, width: int) -> Tensor:
    """Join windows, (B·windows, h·w, C) -> (B, C, H, W): undoes `to_windows`."""
    rows, columns = math.ceil(height / side[0]), math.ceil(width / side[1])
    x = x.view(b, rows, columns, *side, -1).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(b, -1, rows * side[0], columns * side[1])[:, :, :height, :width]


def window_mask(height: int, width: int, side: tuple[int, ...], b: int, device: torch.device) -> Tensor | None:
    """Return which keys of each window lie in the image, (B·windows, 1, 1, h·w); None where all do."""
    if height % side[0] == 0 and width % side[1] == 0:
        return None
    real = to_windows(torch.ones(1, 1, height, width, device=device), side)[..., 0] > 0  # (windows, h·w)
    return real[:, None, None].repeat(b, 1, 1, 1)
