"""Modules of the U-ViT: long skip connection, network; and how it is begun."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ablate.api import Context, Labels
from ablate_zoo.backbone._transformer_modules import PatchTokens, in_one_pass
from ablate_zoo.layers.attention import pass_on
from ablate_zoo.layers.embedding import LevelAndClass


class LongSkip(nn.Module):
    """Long skip connection between transformer blocks: fuses tokens as feature maps (Bao et al. 2023).

    Tokens of patches are (B, D, rows, columns) for it, the others (B, D, L, 1).

    fusion: a module (d, s, context) -> (B, C, height, width). channels: its C; where that is not the
    width D of the tokens, a linear layer takes it back.
    """

    def __init__(self, fusion: nn.Module, channels: int, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.fusion = fusion
        self.grid = grid
        self.reduce = nn.Identity() if channels == width else nn.Linear(channels, width)

    def forward(self, d: Tensor, s: Tensor, context: Context, joined: int) -> Tensor:
        """Two sequences (B, L + N, D), of which the first L tokens are no patches -> (B, L + N, D)."""
        parts = [self._fuse(d[:, joined:], s[:, joined:], context, self.grid)]
        if joined:
            parts.insert(0, self._fuse(d[:, :joined], s[:, :joined], context, (joined, 1)))
        return self.reduce(torch.cat(parts, dim=1))

    def pass_through(self) -> None:
        """Begin as d, the first of the two, in place, as far as the fusion can."""
        begin = getattr(self.fusion, "pass_through", None)
        if callable(begin):
            begin()
        if isinstance(self.reduce, nn.Linear):
            pass_on(self.reduce)

    def _fuse(self, d: Tensor, s: Tensor, context: Context, grid: tuple[int, int]) -> Tensor:
        fused = self.fusion(d.transpose(1, 2).unflatten(2, grid), s.transpose(1, 2).unflatten(2, grid), context)
        return fused.flatten(2).transpose(1, 2)


class UViT(nn.Module):
    """U-ViT (Bao et al. 2023): blocks in two halves, with a long skip connection from each to its mirror image.

    middle: blocks between the halves, without a skip. refine: a layer over the image at the end.
    """

    def __init__(
        self,
        condition: LevelAndClass,
        tokens: PatchTokens,
        encoder: Sequence[nn.Module],
        middle: Sequence[nn.Module],
        skips: Sequence[LongSkip],
        decoder: Sequence[nn.Module],
        head: nn.Module,
        refine: nn.Module,
    ) -> None:
        super().__init__()
        self.condition = condition
        self.tokens = tokens
        self.encoder = nn.ModuleList(encoder)
        self.middle = nn.ModuleList(middle)
        self.skips = nn.ModuleList(skips)
        self.decoder = nn.ModuleList(decoder)
        self.head = head
        self.refine = refine

    def forward(self, x: Tensor, noise: Tensor, labels: Labels, second: Tensor | None = None) -> Tensor:
        """As `DiT`: image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, outputs, H, W)."""
        context = self.condition(noise, labels, second)
        tokens, layout = self.tokens(x, context)
        encoded: list[Tensor] = []  # the output of each encoder block
        blocks = iter(in_one_pass([*self.encoder, *self.middle, *self.decoder], context, tokens, layout))
        for _ in self.encoder:
            tokens = next(blocks)(tokens, layout)
            encoded.append(tokens)
        for _ in self.middle:
            tokens = next(blocks)(tokens, layout)
        for skip, block in zip(self.skips, blocks, strict=True):
            tokens = block(skip(tokens, encoded.pop(), context, layout.joined), layout)
        return self.refine(self.tokens.image(self.head(tokens[:, layout.joined :], context)))


def init_uvit(network: nn.Module) -> None:
    """Initialise every linear layer below as in U-ViT: normal with standard deviation 0.02, biases zero.

    Made for widths from 512 on, where Xavier's deviation is near. It is five times that at a width of 96: such a
    network hardly begins to learn.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
