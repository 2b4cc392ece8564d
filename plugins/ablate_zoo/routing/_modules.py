"""Routing of tokens through a stack of blocks: dropped in the middle, masked at the start, or merged in each block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ablate.api import Layout

Block = Callable[[Tensor, Layout], Tensor]


def through(tokens: Tensor, layout: Layout, blocks: Sequence[Block]) -> Tensor:
    """Take the tokens through some blocks, one after the other."""
    for block in blocks:
        tokens = block(tokens, layout)
    return tokens


def draw(batch: int, patches: int, share: float, device: torch.device) -> Tensor:
    """Draw which patches stay, (B, K) of their numbers in order, each image by itself; at least one stays and leaves.

    From torch's global generator.
    """
    stay = min(max(patches - round(share * patches), 1), max(patches - 1, 1))
    return torch.rand(batch, patches, device=device).argsort(dim=1)[:, :stay].sort(dim=1).values


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Return the tokens of some numbers: (B, N, D), (B, K) -> (B, K, D)."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))


def put(tokens: Tensor, index: Tensor, some: Tensor) -> Tensor:
    """Return the tokens with others in the places of some numbers: (B, N, D), (B, K), (B, K, D) -> (B, N, D)."""
    return tokens.scatter(1, index[..., None].expand_as(some), some.to(tokens.dtype))


def in_full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off: who is nearest to whom is not left to 8 bits. The meta device has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


class Drop(nn.Module):
    """A share of the patches passes by the blocks between the first `before` and the last `after`, in training."""

    def __init__(self, share: float, before: int, after: int) -> None:
        super().__init__()
        self.share = share
        self.before = before
        self.after = after

    def forward(self, tokens: Tensor, layout: Layout, blocks: Sequence[Block]) -> Tensor:
        """(B, L + N, D) -> (B, L + N, D)."""
        if not self.training:
            return through(tokens, layout, blocks)
        joined, last = layout.joined, len(blocks) - self.after
        tokens = through(tokens, layout, blocks[: self.before])
        patches = tokens[:, joined:]
        stay = draw(len(tokens), patches.shape[1], self.share, tokens.device)
        some = torch.cat([tokens[:, :joined], take(patches, stay)], dim=1)
        some = through(some, layout.select(stay), blocks[self.before : last])
        tokens = torch.cat([some[:, :joined], put(patches.to(some.dtype), stay, some[:, joined:])], dim=1)
        return through(tokens, layout, blocks[last:])


class Mask(nn.Module):
    """A share of the patches is seen by the last `after` blocks alone, as learned vectors of their places, in training.

    vectors: (N, D), one for each patch.
    """

    def __init__(self, share: float, after: int, patches: int, width: int) -> None:
        super().__init__()
        self.share = share
        self.after = after
        self.vectors = nn.Parameter(torch.empty(patches, width))
        nn.init.trunc_normal_(self.vectors, std=0.02)
        self._hidden: Tensor | None = None

    def hidden_patches(self) -> Tensor | None:
        """Return which patches the last pass hid, (B, rows, columns) bool."""
        return self._hidden

    def forward(self, tokens: Tensor, layout: Layout, blocks: Sequence[Block]) -> Tensor:
        """(B, L + N, D) -> (B, L + N, D)."""
        if not self.training:
            self._hidden = None
            return through(tokens, layout, blocks)
        assert layout.grid is not None, "before the first block all patches are there"
        joined, last = layout.joined, len(blocks) - self.after
        stay = draw(len(tokens), tokens.shape[1] - joined, self.share, tokens.device)
        every = torch.ones(len(tokens), tokens.shape[1] - joined, dtype=torch.bool, device=tokens.device)
        self._hidden = every.scatter(1, stay, False).unflatten(1, layout.grid)
        some = torch.cat([tokens[:, :joined], take(tokens[:, joined:], stay)], dim=1)
        some = through(some, layout.select(stay), blocks[:last])
        empty = self.vectors.to(some.dtype).expand(len(tokens), -1, -1)
        tokens = torch.cat([some[:, :joined], put(empty, stay, some[:, joined:])], dim=1)
        return through(tokens, layout, blocks[last:])


class Merge(nn.Module):
    """Each block between the first `before` and the last `after` sees a share of the patches merged into others.

    The first patch of each square of the grid is a target; those of the others that are nearest to one join it: the
    block sees the mean, and what it adds to that is added to each.
    """

    targets: Tensor  # (T,) numbers of patches
    others: Tensor  # (N - T,)

    def __init__(
        self, share: float, square: int, grid: tuple[int, int], before: int, after: int, in_training: bool
    ) -> None:
        super().__init__()
        rows, columns = grid
        self.joining = round(share * rows * columns)
        self.before = before
        self.after = after
        self.in_training = in_training
        device = torch.empty(0).device  # the one that the network is built on
        numbers = [r * columns + c for r in range(0, rows, square) for c in range(0, columns, square)]
        rest = sorted(set(range(rows * columns)) - set(numbers))
        for name, some in (("targets", numbers), ("others", rest)):
            self.register_buffer(name, torch.tensor(some, device="cpu").to(device), persistent=False)

    def forward(self, tokens: Tensor, layout: Layout, blocks: Sequence[Block]) -> Tensor:
        """(B, L + N, D) -> (B, L + N, D)."""
        if self.training and not self.in_training:
            return through(tokens, layout, blocks)
        last = len(blocks) - self.after
        tokens = through(tokens, layout, blocks[: self.before])
        for block in blocks[self.before : last]:
            tokens = self._merged(tokens, layout, block)
        return through(tokens, layout, blocks[last:])

    def _merged(self, tokens: Tensor, layout: Layout, block: Block) -> Tensor:
        """Take the tokens through one block."""
        joined = layout.joined
        front, patches = tokens[:, :joined], tokens[:, joined:]
        stay, into, who = self.match(patches)
        staying = torch.cat([stay, self.targets.expand(len(tokens), -1)], dim=1)  # (B, K): the targets last
        targets = mean_of(take(patches, self.targets.expand(len(tokens), -1)), into, take(patches, who))
        some = torch.cat([front, take(patches, stay), targets], dim=1)
        added = block(some, layout.select(staying)) - some
        change = put(torch.zeros_like(patches), staying, added[:, joined:])
        change = put(change, who, take(added[:, joined + stay.shape[1] :], into))
        return tokens + torch.cat([added[:, :joined], change], dim=1)

    def match(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find who joins whom: (B, N, D) -> numbers of the others that stay (B, S), and for each that joins (B, J)
        the target's place among the targets, and its own number.
        """
        with torch.no_grad(), in_full_precision(patches.device):
            unit = nn.functional.normalize(patches.detach().float(), dim=-1)
            alike = unit[:, self.others] @ unit[:, self.targets].transpose(1, 2)  # cosines, (B, N - T, T)
            nearest, target = alike.max(dim=-1)
            order = nearest.argsort(dim=1, descending=True, stable=True)
            join, stay = order[:, : self.joining], order[:, self.joining :].sort(dim=1).values
            return self.others[stay], target.gather(1, join), self.others[join]


def mean_of(targets: Tensor, into: Tensor, joining: Tensor) -> Tensor:
    """Return the mean of each target and those that join it: (B, T, D), (B, J) places, (B, J, D) -> (B, T, D)."""
    index = into[..., None].expand_as(joining)
    total = targets.scatter_add(1, index, joining)
    count = torch.ones_like(targets[..., 0]).scatter_add(1, into, torch.ones_like(joining[..., 0]))
    return total / count[..., None]
