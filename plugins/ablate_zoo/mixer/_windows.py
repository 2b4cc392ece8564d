"""Attention within windows of a grid of patches, with tokens that see all windows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate_zoo.layers.attention import QueryKey


class WindowProduct(nn.Module):
    """Scaled dot-product attention of each patch over its window, and over the tokens in front of the patches.

    grid: (rows, columns) of the patches. window: along a side. shift: how far down and to the right the first whole
    windows begin; before them lie smaller ones. Those L tokens that come first see all tokens.
    """

    def __init__(self, grid: tuple[int, int], window: int, shift: int = 0) -> None:
        super().__init__()
        self.grid = grid
        self.sides = tuple(min(window, n) for n in grid)  # (h, w) of a window
        # Empty places before the first patch: whole windows begin at `shift`. One that holds the grid is not cut.
        self.before = tuple((s - shift % s) % s if s < n else 0 for s, n in zip(self.sides, grid, strict=True))
        self.windows = tuple(
            math.ceil((b + n) / s) for b, n, s in zip(self.before, grid, self.sides, strict=True)
        )  # down, across
        self.query_key = QueryKey()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries, keys, values (B, heads, L + rows·columns, d) -> the same shape."""
        q, k = self.query_key(q, k)
        joined = q.shape[2] - self.grid[0] * self.grid[1]
        count = self.windows[0] * self.windows[1]
        windows = [self._cut(part[:, :, joined:]) for part in (q, k, v)]  # (B·windows, heads, h·w, d)
        front = [part[:, :, :joined].repeat_interleave(count, dim=0) for part in (k, v)]
        keys, values = (torch.cat([f, part], dim=2) for f, part in zip(front, windows[1:], strict=True))
        attended = F.scaled_dot_product_attention(windows[0], keys, values, self._mask(len(q), joined, q.device))
        patches = self._join(attended, len(q))
        if not joined:
            return patches
        return torch.cat([F.scaled_dot_product_attention(q[:, :, :joined], k, v), patches], dim=2)

    def _cut(self, x: Tensor) -> Tensor:
        """(B, heads, rows·columns, d) -> (B·windows, heads, h·w, d), zeros where there is no patch."""
        b, heads, _, d = x.shape
        (rows, columns), (h, w), (down, across) = self.grid, self.sides, self.windows
        top, left = self.before
        x = x.reshape(b, heads, rows, columns, d)
        x = F.pad(x, (0, 0, left, across * w - left - columns, top, down * h - top - rows))
        x = x.reshape(b, heads, down, h, across, w, d).permute(0, 2, 4, 1, 3, 5, 6)
        return x.reshape(b * down * across, heads, h * w, d)

    def _join(self, x: Tensor, b: int) -> Tensor:
        """Undo `_cut`."""
        heads, d = x.shape[1], x.shape[3]
        (rows, columns), (h, w), (down, across) = self.grid, self.sides, self.windows
        top, left = self.before
        x = x.reshape(b, down, across, heads, h, w, d).permute(0, 3, 1, 4, 2, 5, 6)
        x = x.reshape(b, heads, down * h, across * w, d)[:, :, top : top + rows, left : left + columns]
        return x.reshape(b, heads, rows * columns, d)

    def _mask(self, b: int, joined: int, device: torch.device) -> Tensor | None:
        """Return which keys are tokens, (B·windows, 1, 1, L + h·w); None where all are.

        An empty place looks at those that are: every window has one.
        """
        (rows, columns), (h, w), (down, across) = self.grid, self.sides, self.windows
        if (down * h, across * w) == (rows, columns):
            return None
        real = self._cut(torch.ones(1, 1, rows * columns, 1, device=device))[:, :, None, :, 0] > 0
        real = F.pad(real, (joined, 0), value=True)  # (windows, 1, 1, L + h·w)
        return real.repeat(b, 1, 1, 1)


def neighbours(count: int, window: int) -> Tensor:
    """Return which places of a row each of them sees, (count, min(window, count)): a window around it, within the row.

    window: odd.
    """
    size = min(window, count)
    first = (torch.arange(count, device="cpu") - window // 2).clamp(0, count - size)
    return first[:, None] + torch.arange(size, device="cpu")


class NeighborhoodProduct(nn.Module):
    """Scaled dot-product attention of each patch over the patches around it, and over the tokens in front of them.

    grid: (rows, columns) of the patches. window: along a side, odd. Those L tokens that come first see all tokens.
    """

    index: Tensor  # (rows·columns, K): which patches each one sees

    def __init__(self, grid: tuple[int, int], window: int) -> None:
        super().__init__()
        rows, columns = (neighbours(count, window) for count in grid)
        index = rows[:, None, :, None] * grid[1] + columns[None, :, None, :]  # (rows, columns, h, w)
        device = torch.empty(0).device  # the one that the network is built on
        self.register_buffer("index", index.reshape(grid[0] * grid[1], -1).to(device), persistent=False)
        self.query_key = QueryKey()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries, keys, values (B, heads, L + rows·columns, d) -> the same shape."""
        q, k = self.query_key(q, k)
        joined = q.shape[2] - len(self.index)
        front, some = q[:, :, :joined], (q[:, :, joined:] * q.shape[-1] ** -0.5)[..., None, :]  # (B, heads, N, 1, d)
        keys, values = (part[:, :, joined:][:, :, self.index] for part in (k, v))  # (B, heads, N, K, d)
        logits = some @ keys.transpose(-2, -1)  # (B, heads, N, 1, K)
        if not joined:
            return (logits.softmax(dim=-1).to(v.dtype) @ values).squeeze(-2)
        first = some.squeeze(-2) @ k[:, :, :joined].transpose(-2, -1)  # (B, heads, N, L)
        shares = torch.cat([first[..., None, :], logits], dim=-1).softmax(dim=-1).to(v.dtype)
        patches = (shares[..., joined:] @ values).squeeze(-2) + shares[..., 0, :joined] @ v[:, :, :joined]
        return torch.cat([F.scaled_dot_product_attention(front, k, v), patches], dim=2)
