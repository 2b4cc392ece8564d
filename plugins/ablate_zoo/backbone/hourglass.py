"""backbone `hourglass`: transformer over patches that grow inwards, whose outer levels attend to near patches alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import (
    Backbone,
    Choice,
    Conditioning,
    Fusion,
    InputSpec,
    Mixer,
    Mlp,
    Norm,
    Opened,
    Positions,
    slot,
    unread_options,
)
from ablate_zoo.backbone._transformer import Transformer

if TYPE_CHECKING:
    from torch import nn

    from ablate_zoo.backbone._transformer_modules import PatchTokens

Share = Annotated[float, Field(gt=0, le=4)]
Count = Annotated[int, Field(ge=1, le=100)]


class Hourglass(Transformer):
    """Hourglass diffusion transformer, HDiT (Crowson et al. 2024, "Scalable High-Resolution Pixel-Space Image …").

    `patch`, `depth`, `width`, `heads` and `attention` are a DiT's, at the innermost level. Around it lie outer levels,
    each on both sides: the first one has patches of `patch` pixels, and 2×2 tokens of a level become one of the next by
    a linear layer, and 2×2 again behind it, where `fusion` joins them to those that passed by. There `outer_attention`
    attends. Heads are as wide at every level. Registers and tokens of the condition join at the innermost level.
    HDiT for ImageNet at 256: patch 4, outer_widths [0.25, 0.5], outer_depths [2, 2], depth 16, width 1536, heads 24.
    """

    name = "hourglass"

    depth: Annotated[int, Field(ge=1, le=1000), Choice(2, 4, 8)] = 4  # blocks of the innermost level
    outer_widths: Annotated[tuple[Share, ...], Field(min_length=1, max_length=8)] = (0.5,)
    """of each outer level, from the image's patches inwards, as a share of `width`"""
    outer_depths: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)] = (2,)
    """blocks of each outer level, before the innermost one; as many follow it"""
    outer_attention: Mixer = slot("neighborhood")  # of the outer levels
    fusion: Fusion = slot("lerp")  # of what comes back from within with what passed by
    mapping_layers: Annotated[int, Field(ge=0, le=32), Choice(0, 2)] = 2  # MLPs that the embedding passes through
    mapping_width: Annotated[int | None, Field(ge=4, le=65_536, multiple_of=4)] = None
    """numbers of the embedding of timestep and class; None: `width`"""

    conditioning: Conditioning = slot("adaln_scale")
    norm: Annotated[Norm, Opened()] = slot("rms")
    positions: Annotated[Positions, Opened()] = slot("rope")
    mlp: Annotated[Mlp, Opened()] = slot("geglu")
    qkv_bias: bool = False

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        if self.base_width is not None:
            raise ValueError("hourglass begins as in the standard parametrization; leave base_width out, or take dit")
        if (widths := len(self.outer_widths)) != (depths := len(self.outer_depths)):
            raise ValueError(f"outer_widths has {widths} numbers, and outer_depths {depths}: one for each outer level")
        for share in self.outer_widths:
            if (exact := share * self.width) % 4 or exact < 4:
                near = max(round(exact / 4), 1) * 4 / self.width
                raise ValueError(
                    f"outer width {share:g} of {self.width} is {exact:g} numbers, not a multiple of 4; "
                    f"the nearest: {near:g}"
                )
        return self

    @model_validator(mode="after")
    def _heads_fit_outer_levels(self) -> Self:
        wide = self.width // self.head_count
        attends = any(mixer.reads & {"heads", "rotation"} for mixer in self.mixers)
        bad = [width for width in self.widths if width % wide] if attends or self.conditioning.reads_heads else []
        if bad:
            raise ValueError(
                f"heads of {wide} ({self.width}/{self.head_count}) do not divide an outer level of {bad[0]}; "
                f"take heads that do, such as head_width: {self._near_heads(wide)}"
            )
        return self

    def _near_heads(self, wide: int) -> int:
        common = math.gcd(self.width, *self.widths)
        divide = [n for n in range(1, common + 1) if common % n == 0 and self.positions.refuse_heads(n) is None]
        return min(divide or [common], key=lambda n: abs(n - wide))

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of a token of each outer level, from the image's patches inwards."""
        return tuple(round(share * self.width) for share in self.outer_widths)

    @property
    def embedding(self) -> int:
        """Numbers of the vectors that timestep, class and other conditions are embedded in."""
        return self.mapping_width or self.width

    @property
    def mixers(self) -> tuple[Mixer, ...]:
        """What its blocks attend by."""
        return self.attention, self.outer_attention

    @property
    def branches_begin_at_zero(self) -> bool:
        """With `zero_init`, where no gate is zero already: a second zero would keep both from ever learning."""
        return self.zero_init and "identity_at_start" not in self.conditioning.provides()

    @property
    def block_count(self) -> int:
        """How many blocks it has; `without` counts in the order of the pass."""
        return self.depth + 2 * sum(self.outer_depths)

    def provides(self) -> frozenset[str]:
        """As any transformer, but for what mixers would carry from one level's blocks to another's."""
        return super().provides() - {"carry"}

    def excludes(self) -> Mapping[str, str]:
        """Patches that are hidden from it."""
        return {
            **super().excludes(),
            "masked_patches": "its outer levels pass by the innermost one what is hidden there; say routing: none",
        }

    def places(self, parent: Backbone, names: Sequence[str]) -> Mapping[str, str]:
        """Those of the same name, where the parent has as many levels; else none."""
        alike = isinstance(parent, Hourglass) and len(parent.outer_widths) == len(self.outer_widths)
        return super().places(parent, names) if alike else {}

    def axis_parts(self, name: str, axis: int, size: int) -> tuple[int, ...] | None:
        """Unknown: levels have widths of their own."""
        return None

    def unread_fields(self) -> Mapping[str, str]:
        """What the attention of no level reads, and its conditioning neither."""
        inner, told = super().unread_fields(), {"heads": ["heads", "head_width"]}
        told |= {"rotation": ["positions"], "bias": ["qkv_bias"], "query_key_norm": ["qk_norm"]}
        outer = unread_options(told, self.outer_attention, self.conditioning, self.positions)
        return {field: why for field, why in inner.items() if field in outer}

    def refuse(self, setting: InputSpec) -> str | None:
        """Patches of the innermost level must tile the image, and be more than one."""
        _, height, width = setting.shape
        levels = len(self.outer_widths)
        side = self.patch << levels
        if height % side or width % side:
            fits = [n for n in range(levels + 1) if not (height % (self.patch << n) or width % (self.patch << n))]
            do = f"it does for {fits[-1]} outer levels" if fits else "take another patch"
            return f"patches of {side} ({self.patch}·2^{levels}) pixels do not tile {height}×{width}; {do}"
        if height == width == side:
            return f"its innermost level has one token for {height}×{width}; take a smaller patch or fewer outer levels"
        reason = self.routing.refuse_at(self._level(levels)._site(2, setting))
        return None if reason is None else f"routing {self.routing.name!r} {reason}"

    def _level(self, number: int) -> Self:
        """Return what is as a level is, from the image's patches inwards: patch, width and attention of its own."""
        inner = number == len(self.widths)
        update = {
            "patch": self.patch << number,
            "width": self.width if inner else self.widths[number],
            "head_width": self.width // self.head_count,
            "mapping_width": self.embedding,
            "attention": self.attention if inner else self.outer_attention,
            "depth": self.block_count,  # blocks count through all levels
        }
        return self.model_copy(update=update)

    def build(self, setting: InputSpec) -> nn.Module:
        """`Hourglass` of `ablate_zoo.backbone._hourglass_modules`."""
        from torch import nn

        from ablate_zoo.backbone import _hourglass_modules as modules
        from ablate_zoo.layers.attention import zero

        outer = len(self.widths)
        levels = [self._level(i) for i in range(outer + 1)]
        depths = [*self.outer_depths, self.depth, *reversed(self.outer_depths)]
        starts = [0, *accumulate(depths)]
        of_part = [*levels, *reversed(levels[:-1])]
        stacks = [
            [level._block(i, setting) for i in range(start, start + depth)]
            for level, start, depth in zip(of_part, starts, depths, strict=False)
        ]
        self._by_depth(block for stack in stacks for block in stack)
        skips = [level._skip(setting, starts[2 * outer - i]) for i, level in enumerate(levels[:-1])]
        head = levels[0]._head(setting)
        if self.zero_init:
            zero(head.linear)
        return modules.Hourglass(
            self._mapped(setting),
            self._patches(levels, setting),
            stacks,
            [nn.Linear(within.width, 4 * level.width) for level, within in pairwise(levels)],
            skips,
            head,
            self.routing.build(levels[-1]._site(2, setting)),
        )

    def _patches(self, levels: Sequence[Self], setting: InputSpec) -> list[PatchTokens]:
        """Build what makes the tokens of each level: of the image, then of the maps of the level before."""
        from ablate_zoo.layers.conditions import joined_channels

        channels, height, width = setting.shape
        channels += joined_channels(self.embedders, setting)
        given = (self._made_outputs(setting), self._outputs(setting))
        made = [levels[0]._patch_tokens((channels, height, width), self.patch, given[0], setting, given[1], False)]
        for level, within in pairwise(levels):
            maps = level.width, height // level.patch, width // level.patch
            made.append(within._patch_tokens(maps, 2, level.width, setting, is_joined=within is levels[-1]))
        return made

    def _skip(self, setting: InputSpec, block: int) -> nn.Module:
        from ablate_zoo.backbone._uvit_modules import LongSkip

        site = self._site(2, setting, block)
        assert site.resolution is not None
        fusion = self.fusion.build_at(self.width, self.width, site)
        return LongSkip(fusion, self.fusion.channels(self.width, self.width), self.width, site.resolution)

    def _mapped(self, setting: InputSpec) -> nn.Module:
        """Build the embedding of timestep and class, with the mapping network behind it."""
        from ablate_zoo.backbone._hourglass_modules import Mapped

        condition, width = self._condition(setting), self.embedding
        if not self.mapping_layers:
            return condition
        norms = [self.norm.build(width, True) for _ in range(self.mapping_layers + 2)]
        mlps = [self.mlp.build(width, int(width * self.mlp_ratio)) for _ in range(self.mapping_layers)]
        looked_at = "condition_tokens" in self.conditioning.provides()
        return Mapped(condition, norms, mlps, looked_at, self.norm.reads_noise)
