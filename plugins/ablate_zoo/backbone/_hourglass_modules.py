"""Modules of the hourglass transformer: mapping network, network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from ablate.api import Context, Labels, Layout
from ablate_zoo.backbone._transformer_modules import PatchHead, PatchTokens, in_one_pass
from ablate_zoo.layers.attention import zero_last


class Mapped(nn.Module):
    """Condition whose embedding passes through a mapping network: norm, residual MLPs, norm (Karras et al. 2019).

    norms: two more than there are MLPs, around them all and before each. The MLPs add nothing before training (Crowson
    et al. 2024). tokens: whether the condition's tokens pass through it too, each by itself. timed: whether the norms
    are modules (x, noise) -> x.
    """

    def __init__(
        self,
        condition: nn.Module,
        norms: Sequence[nn.Module],
        mlps: Sequence[nn.Module],
        tokens: bool,
        timed: bool = False,
    ) -> None:
        super().__init__()
        self.timed = timed
        self.condition = condition
        self.norms = nn.ModuleList(norms)
        self.mlps = nn.ModuleList(zero_last(mlp) for mlp in mlps)
        self.tokens = tokens

    def forward(self, noise: Tensor, labels: Labels, second: Tensor | None = None) -> Context:
        """As of the condition."""
        context: Context = self.condition(noise, labels, second)
        context = context._replace(embedding=self.mapped(context.embedding[:, None], context.noise)[:, 0])
        return context._replace(tokens=self.mapped(context.tokens, context.noise)) if self.tokens else context

    def mapped(self, e: Tensor, noise: Tensor) -> Tensor:
        """(B, L, E), (B,) -> (B, L, E)."""
        told = (noise,) if self.timed else ()
        first, *norms, last = self.norms
        e = first(e, *told)
        for norm, mlp in zip(norms, self.mlps, strict=True):
            e = e + mlp(norm(e, *told))
        mapped: Tensor = last(e, *told)
        return mapped


class Hourglass(nn.Module):
    """Hourglass transformer (Crowson et al. 2024): levels of tokens, each of 2×2 of the level before it, and back.

    patches: of each level what makes its tokens, of the image or of the maps of the level before. stacks: the blocks of
    the levels inwards, of the innermost one, and outwards. splits: of each outer level the linear layer that makes 2×2
    of its tokens of one from within; skips: a module (d, s, context, 0) -> tokens that joins them to those that passed
    by. routing: as of `DiT`, at the innermost level.
    """

    def __init__(
        self,
        condition: nn.Module,
        patches: Sequence[PatchTokens],
        stacks: Sequence[Sequence[nn.Module]],
        splits: Sequence[nn.Module],
        skips: Sequence[nn.Module],
        head: PatchHead,
        routing: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.condition = condition
        self.patches = nn.ModuleList(patches)
        self.stacks = nn.ModuleList(nn.ModuleList(blocks) for blocks in stacks)
        self.splits = nn.ModuleList(splits)
        self.skips = nn.ModuleList(skips)
        self.head = head
        self.routing = routing

    def sites(self) -> dict[str, nn.Module]:
        """Its blocks in their order."""
        return {f"stacks.{i}.{j}": block for i in range(len(self.stacks)) for j, block in enumerate(self._blocks(i))}

    def forward(self, x: Tensor, noise: Tensor, labels: Labels, second: Tensor | None = None) -> Tensor:
        """As `DiT`: image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, outputs, H, W)."""
        context = self.condition(noise, labels, second)
        tokens, layout = self._patches(0)(x, context)
        context = context._replace(channels=None)  # images that are conditions have joined the image
        inner = len(self.splits)
        passed: list[tuple[Tensor, Layout]] = []
        for level in range(inner):
            tokens = through(self._blocks(level), tokens, context, layout)
            passed.append((tokens, layout))
            tokens, layout = self._patches(level + 1)(as_maps(tokens, layout), context)
        if self.routing is None:
            tokens = through(self._blocks(inner), tokens, context, layout)
        else:
            tokens = self.routing(tokens, layout, in_one_pass(self._blocks(inner), context, tokens, layout))
        tokens = tokens[:, layout.joined :]
        for level in reversed(range(inner)):
            maps = self._patches(level + 1).image(self.splits[level](tokens))
            skip, layout = passed[level]
            tokens = self.skips[level](maps.flatten(2).transpose(1, 2), skip, context, 0)
            tokens = through(self._blocks(2 * inner - level), tokens, context, layout)
        return self._patches(0).image(self.head(tokens, context))

    def _blocks(self, part: int) -> nn.ModuleList:
        stack = self.stacks[part]
        assert isinstance(stack, nn.ModuleList)
        return stack

    def _patches(self, level: int) -> PatchTokens:
        patches = self.patches[level]
        assert isinstance(patches, PatchTokens)
        return patches


def through(blocks: Iterable[nn.Module], tokens: Tensor, context: Context, layout: Layout) -> Tensor:
    """Take the tokens through the blocks of a level."""
    for block in in_one_pass(blocks, context, tokens, layout):
        tokens = block(tokens, layout)
    return tokens


def as_maps(tokens: Tensor, layout: Layout) -> Tensor:
    """Return the tokens of all patches as feature maps: (B, rows·columns, D) -> (B, D, rows, columns)."""
    assert layout.grid is not None
    return tokens.transpose(1, 2).unflatten(2, layout.grid)
