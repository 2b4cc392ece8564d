"""Modules of the multi-resolution network: depthwise convolution, cascade, branch, head, network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ablate.api import Context, Labels, Layout
from ablate_zoo.backbone._transformer_modules import NOTHING, PatchTokens, in_one_pass
from ablate_zoo.backbone._uvit_modules import LongSkip
from ablate_zoo.layers.embedding import LevelAndClass
from ablate_zoo.layers.norms import modulate


class Depthwise(nn.Module):
    """Depthwise convolution over the patches of a grid, the first layer of a ConvNeXt block (Liu et al. 2022)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, rows·columns, D), the same."""
        return as_tokens(self.convolution(as_maps(x, layout)))


class Cascade(nn.Module):
    """Takes what the blocks of a branch gave to the next one, whose grid is twice as fine: norm, linear, split, norm.

    norms: of all features of a patch beside each other, and of what becomes of them. timed: whether they are modules
    (x, noise) -> x.
    """

    def __init__(self, features: int, width: int, norms: tuple[nn.Module, nn.Module], timed: bool = False) -> None:
        super().__init__()
        self.before, self.behind = norms
        self.linear = nn.Linear(features, 4 * width)
        self.timed = timed

    def forward(self, features: Sequence[Tensor], context: Context, layout: Layout) -> Tensor:
        """Each (B, N, D), N patches -> (B, 4·N, width)."""
        told = (context.noise,) if self.timed else ()
        assert layout.grid is not None
        rows, columns = layout.grid
        h = self.linear(self.before(torch.cat(list(features), dim=-1), *told))
        split = h.view(len(h), rows, columns, 2, 2, -1).transpose(2, 3).reshape(len(h), 4 * rows * columns, -1)
        finer: Tensor = self.behind(split, *told)
        return finer


class Branch(nn.Module):
    """Blocks at one resolution, with a long skip connection from each of the first half to its mirror image.

    tokens: makes those of the image's patches at this resolution.
    """

    def __init__(self, tokens: PatchTokens, blocks: Sequence[nn.Module], skips: Sequence[LongSkip]) -> None:
        super().__init__()
        self.tokens = tokens
        self.blocks = nn.ModuleList(blocks)
        self.skips = nn.ModuleList(skips)

    def forward(self, x: Tensor, context: Context, coarser: Tensor | None) -> tuple[list[Tensor], Layout]:
        """Return the patches' features before the first block and behind each, (B, N, D), and how the patches lie.

        coarser: what the branch before has found, (B, N, D), which is added to the patches; None: there is none.
        """
        tokens, layout = self.tokens(x, context)
        if coarser is not None:
            tokens = tokens + coarser
        features, skips = [tokens], list(self.skips)
        for number, block in enumerate(in_one_pass(self.blocks, context, tokens, layout)):
            mirrored = len(self.blocks) - number  # features[mirrored] is what its mirror image gave
            if mirrored <= len(skips):
                tokens = skips[len(skips) - mirrored](tokens, features[mirrored], context, layout.joined)
            tokens = block(tokens, layout)
            features.append(tokens)
        return [part[:, layout.joined :] for part in features], layout


class MapHead(nn.Module):
    """Output head: norm, modulation, and a 3×3 convolution over the patches to their pixels.

    timed: whether the norm is a module (x, noise) -> x.
    """

    def __init__(
        self, norm: nn.Module, width: int, outputs: int, modulation: nn.Module | None = None, timed: bool = False
    ) -> None:
        super().__init__()
        self.timed = timed
        self.norm = norm
        self.modulation = modulation
        self.convolution = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor, context: Context, layout: Layout) -> Tensor:
        """(B, N, D) -> (B, N, outputs)."""
        (how,) = (NOTHING,) if self.modulation is None else self.modulation(context)
        x = self.norm(x, context.noise) if self.timed else self.norm(x)
        return as_tokens(self.convolution(as_maps(modulate(x, how.shift, how.scale), layout)))


class DiMR(nn.Module):
    """Multi-resolution network (Liu et al. 2024): branches from coarse to fine patches, each told by the one before.

    cascades: one between each two branches. head: of the finest one.
    """

    def __init__(
        self, condition: LevelAndClass, branches: Sequence[Branch], cascades: Sequence[Cascade], head: MapHead
    ) -> None:
        super().__init__()
        self.condition = condition
        self.branches = nn.ModuleList(branches)
        self.cascades = nn.ModuleList(cascades)
        self.head = head

    def sites(self) -> dict[str, nn.Module]:
        """Its blocks in their order."""
        branches = enumerate(self.branches)
        return {f"branches.{i}.blocks.{j}": block for i, one in branches for j, block in enumerate(_blocks(one))}

    def forward(self, x: Tensor, noise: Tensor, labels: Labels, second: Tensor | None = None) -> Tensor:
        """As `DiT`: image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, outputs, H, W)."""
        context = self.condition(noise, labels, second)
        features, layout = self.branches[0](x, context, None)
        for cascade, branch in zip(self.cascades, list(self.branches)[1:], strict=True):
            features, layout = branch(x, context, cascade(features, context, layout))
        finest = self.branches[-1]
        assert isinstance(finest, Branch)
        return finest.tokens.image(self.head(features[-1], context, layout))


def as_maps(tokens: Tensor, layout: Layout) -> Tensor:
    """Return the tokens of all patches as feature maps whose channels lie last: (B, rows·columns, D) -> (B, D, …)."""
    assert layout.grid is not None
    return tokens.unflatten(1, layout.grid).permute(0, 3, 1, 2)


def as_tokens(maps: Tensor) -> Tensor:
    """Return feature maps as tokens: (B, D, rows, columns) -> (B, rows·columns, D)."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)


def _blocks(branch: nn.Module) -> nn.ModuleList:
    assert isinstance(branch, Branch)
    return branch.blocks
