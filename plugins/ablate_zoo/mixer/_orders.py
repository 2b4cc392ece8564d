"""Orders in which a mixer reads the tokens of a grid as a sequence: row by row, or along zigzag paths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Layout

PATHS = 8  # zigzag paths: along rows or columns, from each of the four corners


def zigzag(grid: tuple[int, int], number: int) -> list[int]:
    """Return the patches of a grid along one of eight paths whose neighbours are neighbours in the image.

    Every second row (or column) is read backwards. (Hu et al. 2024, "ZigMa", figure 4: the paths take turns from block
    to block.)
    """
    rows, columns = grid
    by_columns, from_below, from_right = bool(number & 1), bool(number & 2), bool(number & 4)
    down = range(rows)[::-1] if from_below else range(rows)
    across = range(columns)[::-1] if from_right else range(columns)
    outer, inner = (across, down) if by_columns else (down, across)
    path = []
    for i, o in enumerate(outer):
        for n in inner if i % 2 == 0 else reversed(inner):
            row, column = (n, o) if by_columns else (o, n)
            path.append(row * columns + column)
    return path


class Sequence(nn.Module):
    """Puts the patches of a sequence into the order of a path, and back; tokens without a place stay in front.

    path: numbers of all patches in the order in which they are read; None: row by row.
    """

    ranks: Tensor  # (N,), of each patch its place on the path
    path: Tensor  # (N,)

    def __init__(self, path: list[int] | None = None) -> None:
        super().__init__()
        self.by_rows = path is None
        if path is not None:
            device = torch.empty(0).device  # the one that the network is built on
            order = torch.tensor(path, device="cpu")
            self.register_buffer("path", order.to(device), persistent=False)
            self.register_buffer("ranks", order.argsort().to(device), persistent=False)

    def forward(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor | None]:
        """(B, L + N, D) -> the same in the path's order, and which place each token now has; None: its own.

        Raises ValueError where the layout does not say which patches are there: a set has no order.
        """
        joined = layout.joined
        if layout.patches is None:
            if layout.grid is None:
                raise ValueError("the layout does not say which patches these are: a set of tokens has no order")
            if self.by_rows:
                return x, None
            front = torch.arange(joined, device=x.device)
            return x[:, torch.cat([front, self.path + joined])], torch.cat([front, self.ranks + joined])[None]
        ranks = layout.patches if self.by_rows else self.ranks[layout.patches]  # (B, K)
        order = ranks.argsort(dim=1)
        front = torch.arange(joined, device=x.device).expand(len(x), -1)
        order = torch.cat([front, order + joined], dim=1)
        return _picked(x, order), order.argsort(dim=1)

    @staticmethod
    def back(x: Tensor, places: Tensor | None) -> Tensor:
        """Put the tokens back where they were."""
        return x if places is None else _picked(x, places.expand(len(x), -1))


def _picked(x: Tensor, index: Tensor) -> Tensor:
    """(B, N, D), (B, K) -> (B, K, D)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))
