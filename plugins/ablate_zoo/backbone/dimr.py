"""backbone `dimr`: multi-resolution network, a transformer over coarse patches and convolutions over finer ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ablate.api import (
    Backbone,
    Choice,
    Conditioning,
    Fusion,
    InputSpec,
    MixerSite,
    Mlp,
    Norm,
    Opened,
    Positions,
    slot,
)
from ablate_zoo.backbone._transformer import Transformer

if TYPE_CHECKING:
    from torch import nn

    from ablate_zoo.backbone._dimr_modules import Branch, Cascade, MapHead
    from ablate_zoo.backbone._transformer_modules import Block


Share = Annotated[float, Field(gt=0, le=4)]
Count = Annotated[int, Field(ge=1, le=1000)]


@dataclass(frozen=True)
class Convolution:
    """In the place of a mixer: a depthwise convolution, where no token stands beside the patches."""

    kernel: int
    reads: ClassVar[frozenset[str]] = frozenset()

    def build(self, site: MixerSite) -> nn.Module:
        """`Depthwise` of `ablate_zoo.backbone._dimr_modules`."""
        from ablate_zoo.backbone._dimr_modules import Depthwise

        return Depthwise(site.width, self.kernel)


class DiMR(Transformer):
    """Multi-resolution network, DiMR (Liu et al. 2024, "Alleviating Distortion in Image Generation via …").

    `patch`, `depth`, `width`, `heads` and `attention` are those of the first branch, a U-ViT over coarse patches. Each
    further branch reads the image in patches half as large, and adds to them what all blocks of the branch before have
    given, split 2×2; its blocks are ConvNeXt's, a depthwise convolution and an MLP, with long skips like those of the
    first. The finest one predicts. Tokens of the condition and registers are in the first branch alone; norms tell the
    others the noise level. A convolution reads no norm, unless the conditioning modulates it.
    DiMR-XL/2R: patch 2, depth 39, width 960, heads 16, branch_widths [0.5], branch_depths [21].
    """

    name = "dimr"

    depth: Annotated[int, Field(ge=3, le=1000), Choice(3, 5, 7)] = 5  # blocks of the first branch, odd
    branch_widths: Annotated[tuple[Share, ...], Field(min_length=1, max_length=8)] = (0.5,)
    """of each further branch, from coarse to fine, as a share of `width`"""
    branch_depths: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)] = (3,)
    """blocks of each further branch, odd"""
    kernel: Annotated[int, Field(ge=1, le=255), Choice(3, 5, 7)] = 7  # patches along a convolution's side, odd
    embedding_width: Annotated[int | None, Field(ge=4, le=65_536, multiple_of=4)] = None
    """numbers of the embedding of timestep and class; None: `width`"""
    fusion: Fusion = slot("concat")  # of the long skips
    time_mlp: bool = True  # the noise level's frequencies through an MLP, as in DiT
    init: Literal["normal", "xavier"] = "xavier"  # of linear layers; normal, of deviation 0.02, as in the paper

    conditioning: Conditioning = slot("in_context")
    norm: Annotated[Norm, Opened()] = slot("time_dependent")
    positions: Annotated[Positions, Opened()] = slot("learned")
    mlp: Annotated[Mlp, Opened()] = slot("geglu")
    qkv_bias: bool = False

    @model_validator(mode="after")
    def _branches_fit(self) -> Self:
        if self.base_width is not None:
            raise ValueError("dimr begins as in the standard parametrization; leave base_width out, or take dit")
        if self.t_fixup:
            raise ValueError("t_fixup begins a transformer's blocks, and dimr has convolutions too; say t_fixup: false")
        if self.kernel % 2 == 0:
            raise ValueError(f"a kernel of {self.kernel} has no middle; the nearest: {self.kernel + 1}")
        for depth in (self.depth, *self.branch_depths):
            if depth % 2 == 0:
                raise ValueError(
                    f"a branch of {depth} blocks has none in the middle, and its innermost skip connection would bring "
                    f"what is there already; the nearest: {depth + 1}"
                )
        if (widths := len(self.branch_widths)) != (depths := len(self.branch_depths)):
            raise ValueError(f"branch_widths has {widths} numbers, and branch_depths {depths}: one a further branch")
        for share in self.branch_widths:
            if (exact := share * self.width) % 4 or exact < 4:
                near = max(round(exact / 4), 1) * 4 / self.width
                raise ValueError(
                    f"branch width {share:g} of {self.width} is {exact:g} numbers, not a multiple of 4; "
                    f"the nearest: {near:g}"
                )
        if self.patch % 2**widths:
            near = max(round(self.patch / 2**widths), 1) * 2**widths
            raise ValueError(
                f"patches of {self.patch} cannot be halved {widths} times, once a further branch; take patch: {near}, "
                "or fewer branches"
            )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of a patch in each branch, from coarse to fine."""
        return self.width, *(round(share * self.width) for share in self.branch_widths)

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each branch, from coarse to fine."""
        return self.depth, *self.branch_depths

    @property
    def embedding(self) -> int:
        """Numbers of the vectors that timestep, class and other conditions are embedded in."""
        return self.embedding_width or self.width

    @property
    def block_count(self) -> int:
        """How many blocks it has; `without` counts from the first branch on."""
        return sum(self.depths)

    def provides(self) -> frozenset[str]:
        """As any transformer, but for what mixers would carry from one branch's blocks to another's."""
        return super().provides() - {"carry"}

    def excludes(self) -> Mapping[str, str]:
        """Patches that are not all there."""
        return {
            **super().excludes(),
            "routed_tokens": "its branches hand on the features of all patches; say routing: none",
        }

    def places(self, parent: Backbone, names: Sequence[str]) -> Mapping[str, str]:
        """Those of the same name, where the parent's branches have as many blocks; else none."""
        return super().places(parent, names) if isinstance(parent, DiMR) and parent.depths == self.depths else {}

    def axis_parts(self, name: str, axis: int, size: int) -> tuple[int, ...] | None:
        """Unknown: branches have widths of their own."""
        return None

    def _branch(self, number: int) -> Self:
        """Return what is as a branch is, from coarse to fine: patch, width and what mixes patches of its own."""
        width = self.widths[number]
        update = {
            "patch": self.patch >> number,
            "width": width,
            "head_width": math.gcd(self.width // self.head_count, width),
            "embedding_width": self.embedding,
            "attention": Convolution(self.kernel) if number else self.attention,
            "depth": self.block_count,  # blocks count through all branches
        }
        return self.model_copy(update=update)

    def build(self, setting: InputSpec) -> nn.Module:
        """`DiMR` of `ablate_zoo.backbone._dimr_modules`."""
        from ablate_zoo.backbone import _dimr_modules as modules
        from ablate_zoo.backbone._transformer_modules import branches_of
        from ablate_zoo.backbone._uvit_modules import init_uvit
        from ablate_zoo.layers.attention import xavier, zero

        configs = [self._branch(number) for number in range(len(self.depths))]
        starts = accumulate(self.depths, initial=0)
        branches = [
            config._built(range(start, start + depth), setting)
            for config, start, depth in zip(configs, starts, self.depths, strict=False)
        ]
        cascades = [
            finer._cascade((depth + 1) * coarser.width)  # of the patches, and of each block
            for (coarser, finer), depth in zip(pairwise(configs), self.depths, strict=False)
        ]
        head = configs[-1]._map_head(setting)
        blocks = branches_of(block for branch in branches for block in branch.blocks)
        embeds = [branch.tokens.embed for branch in branches]
        for module in (*embeds, *blocks, *(cascade.linear for cascade in cascades)):
            (init_uvit if self.init == "normal" else xavier)(module)
        if self.zero_init:
            zero(head.convolution)
        return modules.DiMR(self._condition(setting, self.time_mlp), branches, cascades, head)

    def _built(self, numbers: range, setting: InputSpec) -> Branch:
        """Build a branch from its own config. numbers: of its blocks; 0 is the first one's first."""
        from ablate_zoo.backbone._dimr_modules import Branch
        from ablate_zoo.backbone._uvit_modules import LongSkip
        from ablate_zoo.layers.conditions import joined_channels

        channels, height, width = setting.shape
        shape, is_first = (channels + joined_channels(self.embedders, setting), height, width), 0 in numbers
        outputs = self._made_outputs(setting)
        tokens = self._patch_tokens(shape, self.patch, outputs, setting, self._outputs(setting), is_joined=is_first)
        blocks = [self._block(i, setting) for i in numbers]
        skips = [
            LongSkip(
                self.fusion.build_at(self.width, self.width, self._site(2, setting, i)),
                self.fusion.channels(self.width, self.width),
                self.width,
                tokens.grid,
            )
            for i in numbers[len(numbers) - len(numbers) // 2 :]
        ]
        return Branch(tokens, blocks, skips)

    def _whole_block(self, index: int, setting: InputSpec) -> Block:
        """Build a block. Its convolution reads no norm but one that is modulated."""
        block = super()._whole_block(index, setting)
        if isinstance(self.attention, Convolution) and self.norm_placement == "pre" and block.modulation is None:
            block.attention.before = None
        return block

    def _cascade(self, features: int) -> Cascade:
        from ablate_zoo.backbone._dimr_modules import Cascade

        affine = self.norm_affine != "never"
        norms = self.norm.build(features, affine), self.norm.build(self.width, affine)
        return Cascade(features, self.width, norms, self.norm.reads_noise)

    def _map_head(self, setting: InputSpec) -> MapHead:
        from ablate_zoo.backbone._dimr_modules import MapHead

        modulation = self.conditioning.head(self._site(1, setting))
        norm = self.norm.build(self.width, self._affine(modulation))
        outputs = self._made_outputs(setting) * self.patch**2
        return MapHead(norm, self.width, outputs, modulation, self.norm.reads_noise)
