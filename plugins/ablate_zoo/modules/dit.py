"""The diffusion transformer (Peebles & Xie 2023, "Scalable Diffusion Models with Transformers")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ablate.api import Context, Modulation
from ablate_zoo.modules.attention import SelfAttention, xavier, zero
from ablate_zoo.modules.embedding import ClassEmbedding, LevelEmbedding, positions_2d
from ablate_zoo.modules.mlp import MLP
from ablate_zoo.modules.modulation import modulate

NOTHING = Modulation()


class Block(nn.Module):
    """Attention and MLP, each a residual branch; a conditioning may enter norms, gates and between them."""

    def __init__(
        self, width: int, heads: int, hidden: int, modulation: nn.Module | None, attention: nn.Module | None
    ) -> None:
        super().__init__()
        plain = modulation is None  # then the norms keep scale and shift of their own
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=plain)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=plain)
        self.mlp = MLP(width, hidden)
        self.modulation = modulation
        self.cross = attention

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        first, second = (NOTHING, NOTHING) if self.modulation is None else self.modulation(context)
        x = self._branch(x, self.norm1, self.attention, first)
        if self.cross is not None:
            x = x + self.cross(x, context)
        return self._branch(x, self.norm2, self.mlp, second)

    def _branch(self, x: Tensor, norm: nn.Module, branch: nn.Module, how: Modulation) -> Tensor:
        h = x if how.bias is None else x + how.bias.unsqueeze(1)
        h = branch(modulate(norm(h), how.shift, how.scale))
        return x + h if how.gate is None else torch.addcmul(x, how.gate.unsqueeze(1), h)


class Head(nn.Module):
    """Norm, modulation and the linear layer back to patches; zero at the start."""

    def __init__(self, width: int, outputs: int, modulation: nn.Module | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=modulation is None)
        self.modulation = modulation
        self.linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, D) -> (B, N, outputs)."""
        (how,) = (NOTHING,) if self.modulation is None else self.modulation(context)
        return self.linear(modulate(self.norm(x), how.shift, how.scale))


class DiT(nn.Module):
    """Patches as tokens, fixed 2-D sin-cos positions, blocks, and patches again.

    blocks, head and sequence are given, so that what conditions them is the caller's choice; sequence
    makes tokens that join the patches, or is None.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int | None,
        patch: int,
        width: int,
        outputs: int,
        blocks: Sequence[nn.Module],
        head: nn.Module,
        sequence: nn.Module | None,
    ) -> None:
        super().__init__()
        channels, height, breadth = shape
        self.patch = patch
        self.outputs = outputs
        self.grid = (height // patch, breadth // patch)
        self.embed = nn.Linear(channels * patch * patch, width)
        self.level = LevelEmbedding(width)
        self.label = None if classes is None else ClassEmbedding(classes, width)
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.sequence = sequence
        table = positions_2d(*self.grid, width).to(self.embed.weight.device)
        self.register_buffer("positions", table, persistent=False)
        xavier(self.embed)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, outputs, H, W)."""
        context = self.condition(noise, labels)
        tokens = self.embed(self.patches(x)) + self.positions  # (B, N, D)
        joined = 0
        if self.sequence is not None:
            extra = self.sequence(context)  # (B, L, D)
            joined = extra.shape[1]
            tokens = torch.cat([extra.to(tokens.dtype), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens, context)
        return self.image(self.head(tokens[:, joined:], context))

    def condition(self, noise: Tensor, labels: Tensor | None) -> Context:
        """Time and class, as their sum and as two tokens."""
        time = self.level(noise)
        if self.label is None or labels is None:
            return Context(time, time[:, None], noise)
        label = self.label(labels).to(time.dtype)
        return Context(time + label, torch.stack([time, label], dim=1), noise)

    def patches(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, C·p·p)."""
        b, c, _, _ = x.shape
        (rows, columns), p = self.grid, self.patch
        cut = x.view(b, c, rows, p, columns, p).permute(0, 2, 4, 1, 3, 5)
        return cut.reshape(b, rows * columns, c * p * p)

    def image(self, tokens: Tensor) -> Tensor:
        """(B, N, outputs·p·p) -> (B, outputs, H, W)."""
        (rows, columns), p = self.grid, self.patch
        cut = tokens.view(len(tokens), rows, columns, p, p, self.outputs).permute(0, 5, 1, 3, 2, 4)
        return cut.reshape(len(tokens), self.outputs, rows * p, columns * p)


def begin(blocks: Sequence[Block], head: Head) -> None:
    """Initial weights as in DiT: Xavier in the blocks' branches, zero in the last layer."""
    for block in blocks:
        xavier(block.attention)
        xavier(block.mlp)
    zero(head.linear)
