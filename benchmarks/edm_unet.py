"""EDM's U-Net (DDPM++) in torch's own words, to stand beside ours: no component, no slot, no option beyond its own.

Written from Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", table 7 and
appendix F.1, and from Song et al. 2021, appendix H. A residual block is norm, SiLU, convolution, plus what the noise
level and the class say; norm, SiLU, dropout, convolution; plus its input, over the root of two. Of two blocks that
change the size one passes by a 1×1 convolution. The image size at which it attends is 16.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ATTENDS = 16  # the size at which it attends
EPS = 1e-6  # of the norms
HALF = math.sqrt(0.5)


def norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(groups, channels // 4), channels, eps=EPS)


class Block(nn.Module):
    """A residual block, (B, C, H, W) -> (B, C', H', W'). change: -1 halves the size, 1 doubles it."""

    def __init__(
        self, inputs: int, outputs: int, embedding: int, groups: int, dropout: float, attends: bool, change: int = 0
    ) -> None:
        super().__init__()
        self.change, self.dropout = change, dropout
        self.norm0, self.conv0 = norm(inputs, groups), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.told = nn.Linear(embedding, outputs)
        self.norm1, self.conv1 = norm(outputs, groups), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.past = nn.Conv2d(inputs, outputs, 1) if inputs != outputs or change else nn.Identity()
        self.norm2 = norm(outputs, groups) if attends else None
        self.qkv, self.out = (nn.Conv2d(outputs, n * outputs, 1) if attends else None for n in (3, 1))
        for last in (self.conv1, self.out):
            if last is not None:
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, C, H, W), (B, D) -> (B, C', H', W')."""
        h = self._resized(F.silu(self.norm0(x)))
        h = self.conv0(h) + self.told(embedding)[:, :, None, None]
        h = F.dropout(F.silu(self.norm1(h)), self.dropout, self.training)
        x = (self.past(self._resized(x)) + self.conv1(h)) * HALF
        if self.norm2 is None or self.qkv is None or self.out is None:
            return x
        q, k, v = self.qkv(self.norm2(x)).flatten(2).transpose(1, 2)[:, None].chunk(3, dim=-1)  # (B, 1, H·W, C)
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])
        return (x + self.out(mixed)) * HALF

    def _resized(self, x: Tensor) -> Tensor:
        if self.change == 0:
            return x
        return F.avg_pool2d(x, 2) if self.change < 0 else F.interpolate(x, scale_factor=2.0, mode="nearest")


class EdmUNet(nn.Module):
    """(B, 3, S, S), (B,) noise labels, (B,) classes -> (B, 3, S, S). width: channels that the multipliers scale."""

    def __init__(
        self,
        size: int = 32,
        channels: int = 3,
        classes: int = 10,
        width: int = 128,
        multipliers: tuple[int, ...] = (2, 2, 2),
        blocks: int = 4,
        groups: int = 32,
        dropout: float = 0.13,
    ) -> None:
        super().__init__()
        self.width, embedding = width, 4 * width
        self.classes = nn.Embedding(classes + 1, width)  # and the null class
        self.mlp = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.takes: list[bool] = []  # which blocks of the decoder take a skip
        kept, now = [width], width

        def block(inputs: int, outputs: int, at: int, attends: bool, change: int = 0) -> Block:
            return Block(inputs, outputs, embedding, groups, dropout, attends, change)

        for level, multiplier in enumerate(multipliers):
            at, wide = size >> level, width * multiplier
            if level:
                self.encoder.append(block(now, now, at, False, -1))
                kept.append(now)
            for _ in range(blocks):
                self.encoder.append(block(now, wide, at, at == ATTENDS))
                now = wide
                kept.append(now)
        self.middle = nn.ModuleList([block(now, now, 0, True), block(now, now, 0, False)])
        for level, multiplier in reversed(list(enumerate(multipliers))):
            at, wide = size >> level, width * multiplier
            if level + 1 < len(multipliers):
                self.decoder.append(block(now, now, at, False, 1))
                self.takes.append(False)
            for number in range(blocks + 1):
                self.decoder.append(block(now + kept.pop(), wide, at, at == ATTENDS and number == blocks))
                self.takes.append(True)
                now = wide
        self.norm, self.last = norm(now, groups), nn.Conv2d(now, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        """(B, 3, S, S), (B,), (B,) -> (B, 3, S, S)."""
        half = self.width // 2
        frequencies = 10_000.0 ** -(torch.arange(half, device=x.device) / (half - 1))
        angles = noise.float()[:, None] * frequencies
        embedding = self.mlp(torch.cat([angles.cos(), angles.sin()], dim=1) + self.classes(labels))
        kept = [x := self.first(x)]
        for block in self.encoder:
            x = block(x, embedding)
            kept = [*kept, x]
        for block in self.middle:
            x = block(x, embedding)
        for block, takes in zip(self.decoder, self.takes, strict=True):
            x = block(torch.cat([x, kept.pop()], dim=1) if takes else x, embedding)
        return self.last(F.silu(self.norm(x)))
