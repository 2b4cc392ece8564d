"""Fields that the transformers `dit` and `uvit` share, and how patch embedding, blocks and head are made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ablate.api import (
    Added,
    Backbone,
    Choice,
    Conditioning,
    Embedder,
    InputSpec,
    Mixer,
    MixerSite,
    Mlp,
    Norm,
    Opened,
    Positions,
    Range,
    Residual,
    Routing,
    Site,
    When,
    slot,
    unread_options,
)
from ablate_zoo.layers.inputs import unembedded

if TYPE_CHECKING:
    from torch import nn

    from ablate_zoo.backbone._transformer_modules import Block, PatchHead, PatchTokens
    from ablate_zoo.layers.embedding import LevelAndClass

Share = Annotated[float, Field(ge=0, lt=1)]
Without = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2000)], ...],
    Field(max_length=2000),
    AfterValidator(lambda blocks: tuple(sorted(set(blocks)))),  # which they are decides, not how they are listed
]


class Transformer(Backbone):
    """Vision transformer over patches (Dosovitskiy et al. 2021); subclasses say how its blocks are connected."""

    patch: Annotated[int, Field(ge=1, le=4096), Choice(2, 4, 8)] = 2  # pixels along a token's side
    depth: Annotated[int, Field(ge=1, le=1000), Choice(4, 6, 8, 12)] = 12  # blocks
    # Numbers a token. The default range is divided by every usual number of heads: 2, 3, 4, 6, 8, 12.
    width: Annotated[int, Field(ge=4, le=65_536, multiple_of=4), Choice(96, 192, 288, 384)] = 384
    heads: Annotated[int, Field(ge=1, le=65_536), When("head_width", (None,))] = 6
    head_width: Annotated[int | None, Field(ge=1, le=65_536), Added(before=None)] = (
        None  # numbers a head; None: `heads` says how many heads
    )
    # muP: initial weights and rates follow width/base_width; None: the standard parametrization.
    base_width: Annotated[int | None, Field(ge=4, le=65_536, multiple_of=4), Added(before=None)] = None
    mlp_ratio: Annotated[float, Field(gt=0, le=64)] = 4.0  # hidden width of the MLP / width
    conditioning: Conditioning = slot("adaln_zero")
    embedders: Annotated[tuple[Embedder, ...], Field(max_length=16), Added(before=[])] = ()  # of conditions
    second_label: Annotated[bool, Added(before=False)] = False  # also told towards which noise level it predicts
    learned_sigma: bool = False  # twice the channels: a prediction and an interpolation of the variance
    spare_outputs: Annotated[bool, Added(before=False)] = (
        False  # twice the channels, the second half of which nobody reads
    )

    # pre: the branch reads Norm(x); post: Norm(x + branch); sandwich: x + Norm(branch(Norm(x)))
    norm_placement: Literal["pre", "post", "sandwich"] = "pre"
    norm: Annotated[Norm, Opened()] = slot("layer")
    norm_affine: Literal["unmodulated", "always", "never"] = "unmodulated"  # norms with a scale of their own
    qk_norm: Literal["none", "cosine", "rms"] = "none"  # of queries and keys, a head
    positions: Annotated[Positions, Opened()] = slot("sincos")
    attention: Annotated[Mixer, Opened()] = slot("softmax")  # what lets tokens see each other
    qkv_bias: bool = True
    mlp: Annotated[Mlp, Opened()] = slot("gelu_tanh")
    parallel: bool = False  # attention and MLP read the same x, and are both added to it
    residual: Annotated[Residual, Opened()] = slot("none")
    residual_beta: Annotated[
        float, Field(gt=0, le=1), When("residual", (True,), of="reads_beta"), Range(0.01, 1.0, log=True)
    ] = 0.1  # β of x + β·branch, at the start where it is learned
    t_fixup: Annotated[bool, Added(before=False)] = False
    """initial weights of the blocks by their number, for training without norms (`norm: none`) and without warm-up"""
    zero_init: bool = True  # the last layer starts at zero, and what the conditioning wants to start there
    dropout: Annotated[Share, Range(0.0, 0.3)] = 0.0  # of the numbers that a branch gives
    drop_path: Annotated[Share, Range(0.0, 0.2)] = (
        0.0  # stochastic depth: an image loses its branch; from 0 in the first block
    )
    registers: Annotated[int, Field(ge=0, le=1024), Added(before=0), Choice(0, 4)] = (
        0  # learned tokens beside the patches
    )
    routing: Annotated[Routing, Added(before={"type": "none"})] = slot("none")  # which tokens pass through which blocks
    without: Annotated[Without, Added(before=[])] = ()  # numbers of blocks that are left out; the others keep theirs

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        attends = any(mixer.reads & {"heads", "rotation"} for mixer in self.mixers)
        if not attends and not self.conditioning.reads_heads:
            return self
        problem = heads_problem(self.width, self.heads, self.head_width, self.positions)
        if problem is None and self.base_width is not None:
            problem = base_problem(self.width, self.base_width, self.heads, self.head_width)
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def head_count(self) -> int:
        """How many heads attend."""
        return self.heads if self.head_width is None else self.width // self.head_width

    @property
    def embedding(self) -> int:
        """Numbers of the vectors that timestep, class and other conditions are embedded in."""
        return self.width

    @property
    def branches_begin_at_zero(self) -> bool:
        """Whether the last layer of each residual branch starts at zero."""
        return False

    @property
    def mixers(self) -> tuple[Mixer, ...]:
        """What its blocks attend by."""
        return (self.attention,)

    @model_validator(mode="after")
    def _weights_begin_one_way(self) -> Self:
        if not self.t_fixup:
            return self
        if self.base_width is not None:
            raise ValueError("t_fixup begins weights by depth, and base_width by width; leave one of the two out")
        if problem := projections_problem(*self.mixers):
            raise ValueError(problem)
        if self.branches_begin_at_zero:
            raise ValueError(
                "t_fixup scales the last layer of each branch, which zero_init begins at zero; say zero_init: false"
            )
        return self

    @model_validator(mode="after")
    def _norms_read_the_noise(self) -> Self:
        modulated = type(self.conditioning).modulation is not Conditioning.modulation
        if self.norm.reads_noise and (self.norm_affine == "never" or (self.norm_affine == "unmodulated" and modulated)):
            by = f" under conditioning {self.conditioning.name!r}" if self.norm_affine == "unmodulated" else ""
            raise ValueError(
                f"norm {self.norm.name!r} reads the noise by a scale of its own, which norm_affine "
                f"{self.norm_affine!r} leaves out{by}; say norm_affine: always, or take a conditioning by tokens"
            )
        return self

    @model_validator(mode="after")
    def _outputs_are_read(self) -> Self:
        if self.spare_outputs and self.learned_sigma:
            raise ValueError("learned_sigma gives the second half of the outputs a meaning; say spare_outputs: false")
        return self

    @model_validator(mode="after")
    def _parallel_reads_a_norm(self) -> Self:
        if self.parallel and self.norm_placement == "post":
            raise ValueError(
                "norm_placement 'post' normalises after each branch, and parallel branches have no order; "
                "say norm_placement: sandwich or pre, or parallel: false"
            )
        return self

    @property
    def block_count(self) -> int:
        """How many blocks it has, those that are left out included."""
        return self.depth

    @model_validator(mode="after")
    def _some_blocks_stay(self) -> Self:
        if unknown := [number for number in self.without if number >= self.block_count]:
            raise ValueError(
                f"without: there is no block {unknown[0]}, but 0 to {self.block_count - 1}; did you mean "
                f"{self.block_count - 1}?"
            )
        if len(self.without) == self.block_count:
            raise ValueError(f"without leaves out all {self.block_count} blocks; keep one at least")
        return self

    def at_base_width(self) -> Self | None:
        """The same with `base_width` as its width: as many blocks, heads as wide."""
        return None if self.base_width is None else self.model_copy(update={"width": self.base_width})

    def provides(self) -> frozenset[str]:
        """Tokens to condition, what mixers carry, a null class; a learned variance, and a second noise label."""
        options = {"learned_variance": self.learned_sigma, "second_label": self.second_label}
        return frozenset({"tokens", "carry", "null_class", *(word for word, on in options.items() if on)})

    def excludes(self) -> Mapping[str, str]:
        """An adapter under muP, whose rates follow the widths of the network's own weights."""
        if self.base_width is None:
            return {}
        return {"adapted_weights": "under base_width (muP) each weight has a rate of its own; leave base_width out"}

    def unread_fields(self) -> Mapping[str, str]:
        """What its attention does not read, and its conditioning neither."""
        heads, others = ["heads", "head_width"], {"bias": ["qkv_bias"], "query_key_norm": ["qk_norm"]}
        fields = {"heads": heads, "rotation": ["positions"], **others}
        return unread_options(fields, self.attention, self.conditioning, self.positions)

    def requires(self) -> Mapping[str, str]:
        """A loss that makes use of a learned variance; rates that follow the width, where it has a base."""
        needs = {}
        if self.learned_sigma:
            needs["variance_loss"] = "learned_sigma gives a variance that no loss trains; set it to false, or the loss"
        if self.base_width is not None:
            needs["rates_by_width"] = "under base_width (muP) rates follow the width; take adamw, adam or radam"
        return needs

    def reads(self, setting: InputSpec) -> frozenset[str]:
        """Those of its embedders, and what the candidate's own parts tell."""
        return super().reads(setting) | {spec.name for spec in unembedded(self.embedders, setting)}

    def refuse(self, setting: InputSpec) -> str | None:
        """Patches must tile the image, and its routing suit the patches and the blocks."""
        _, height, width = setting.shape
        if height % self.patch == 0 and width % self.patch == 0:
            reason = self.routing.refuse_at(self._site(2, setting))
            return None if reason is None else f"routing {self.routing.name!r} {reason}"
        fits = [p for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
        near = min(fits, key=lambda p: abs(p - self.patch))
        return f"patch {self.patch} does not divide {height}×{width}; the nearest that does: {near}"

    def axis_parts(self, name: str, axis: int, size: int) -> tuple[int, ...] | None:
        """Heads, where they attend; else so many times the width, or anything else."""
        head = (self.head_count, self.width // self.head_count)
        attends = (".attention." in name and "heads" in self.attention.reads) or ".cross." in name
        if attends and name.split(".")[-2] in ("qkv", "query", "key_value") and axis == 0:
            return (size // self.width, *head)
        if attends and name.endswith("out.weight") and axis == 1:
            return (1, *head)
        return (1, size // self.width, self.width) if size % self.width == 0 else (1, 1, size)

    def pass_through(self, network: nn.Module, new: Collection[str]) -> None:
        """New blocks add nothing at first."""
        from ablate_zoo.backbone._transformer_modules import Block, begin_as_identity

        for name, block in network.named_modules():
            if isinstance(block, Block) and all(f"{name}.{own}" in new for own, _ in block.named_parameters()):
                begin_as_identity(block)

    def _site(self, branches: int, setting: InputSpec, block: int | None = None) -> Site:
        _, height, width = setting.shape
        grid = height // self.patch, width // self.patch
        return Site(self.width, self.embedding, branches, self.head_count, self.zero_init, block, self.depth, grid)

    def _outputs(self, setting: InputSpec) -> int:
        return setting.shape[0] * (2 if self.learned_sigma else 1)

    def _made_outputs(self, setting: InputSpec) -> int:
        """Return the channels that the last layer makes, those that nobody reads included."""
        return self._outputs(setting) * (2 if self.spare_outputs else 1)

    def _tokens(self, setting: InputSpec) -> PatchTokens:
        from ablate_zoo.layers.conditions import joined_channels

        channels, height, width = setting.shape
        shape = channels + joined_channels(self.embedders, setting), height, width
        return self._patch_tokens(shape, self.patch, self._made_outputs(setting), setting, self._outputs(setting))

    def _patch_tokens(
        self,
        shape: tuple[int, int, int],
        patch: int,
        outputs: int,
        setting: InputSpec,
        kept: int | None = None,
        is_joined: bool = True,
    ) -> PatchTokens:
        """Build the embedding of patches of an image, or of feature maps, of that shape.

        is_joined: whether registers and tokens of the condition join them.
        """
        from ablate_zoo.backbone._transformer_modules import PatchTokens

        grid = shape[1] // patch, shape[2] // patch
        turns = "rotation" in self.attention.reads
        return PatchTokens(
            shape,
            patch,
            self.width,
            outputs,
            self.positions.build(*grid, self.width),
            self.positions.rotation(*grid, self.width // self.head_count) if turns else None,
            self.conditioning.sequence(self._site(2, setting)) if is_joined else None,
            self.registers if is_joined else 0,
            kept,
        )

    def _condition(self, setting: InputSpec, time_mlp: bool = True) -> LevelAndClass:
        from ablate_zoo.layers.conditions import embedders
        from ablate_zoo.layers.embedding import ClassEmbedding, FrequencyEmbedding, LevelAndClass, LevelEmbedding

        width = self.embedding
        level = LevelEmbedding(width) if time_mlp else FrequencyEmbedding(width)
        further = embedders(self.embedders, setting, width)
        own = setting.classes if further is None or "class" not in further.parts else None
        label = None if own is None else ClassEmbedding(own, width)
        return LevelAndClass(level, label, LevelEmbedding(width) if self.second_label else None, further)

    def _blocks(self, setting: InputSpec) -> list[nn.Module]:
        return [self._block(i, setting) for i in range(self.depth)]

    def _block(self, index: int, setting: InputSpec) -> nn.Module:
        from ablate_zoo.backbone._transformer_modules import LeftOut

        return LeftOut() if index in self.without else self._whole_block(index, setting)

    def _whole_block(self, index: int, setting: InputSpec) -> Block:
        from ablate_zoo.backbone._transformer_modules import Block, ResidualBranch
        from ablate_zoo.layers.attention import zero_last

        site, drop_path = self._site(2, setting, index), self.drop_path * index / max(self.depth - 1, 1)
        modulation = self.conditioning.modulation(site)
        places = {"pre": ("before",), "post": ("behind",), "sandwich": ("before", "after")}[self.norm_placement]

        def residual(branch: nn.Module) -> ResidualBranch:
            # What a condition does not modulate keeps a scale of its own: such as the second norm of a sandwich.
            norms = {p: self.norm.build(self.width, self._affine(modulation if p != "after" else None)) for p in places}
            beta = self.residual.scale(self.width, self.residual_beta)
            total = self.residual.total(self.width)
            return ResidualBranch(
                branch,
                **norms,
                beta=beta,
                total=total,
                dropout=self.dropout,
                drop_path=drop_path,
                timed=self.norm.reads_noise,
            )

        attend = self.attention.build(self._mixer_site(site))
        feed = self.mlp.build(self.width, int(self.width * self.mlp_ratio))
        if self.branches_begin_at_zero:
            zero_last(feed)
        return Block(residual(attend), residual(feed), modulation, self.conditioning.attention(site), self.parallel)

    def _mixer_site(self, site: Site) -> MixerSite:
        from ablate_zoo.layers.norms import query_key_norm

        return MixerSite(
            site.width,
            site.embedding,
            site.branches,
            site.heads,
            zero_init=self.branches_begin_at_zero,
            block=site.block,
            blocks=site.blocks,
            resolution=site.resolution,
            bias=self.qkv_bias,
            query_key_norm=partial(query_key_norm, self.qk_norm, self.head_count, self.width // self.head_count),
        )

    def _head(self, setting: InputSpec) -> PatchHead:
        from ablate_zoo.backbone._transformer_modules import PatchHead

        modulation = self.conditioning.head(self._site(1, setting))
        last = self.norm.build(self.width, self._affine(modulation))
        outputs = self._made_outputs(setting) * self.patch**2
        return PatchHead(last, self.width, outputs, modulation, self.norm.reads_noise)

    def _at_width(
        self,
        condition: LevelAndClass,
        tokens: PatchTokens,
        blocks: Sequence[nn.Module],
        head: PatchHead,
        constant: bool,
    ) -> None:
        """Take the initial weights to those of muP, where there is a base width."""
        from ablate_zoo.backbone._transformer_modules import begin_at_width, branches_of

        if self.base_width is not None:
            ratio = self.width / self.base_width
            begin_at_width(condition, tokens.embed, branches_of(blocks), head.linear, ratio, constant)

    def _by_depth(self, blocks: Iterable[nn.Module]) -> None:
        """Begin the blocks by T-Fixup, where that is asked for."""
        from ablate_zoo.backbone._transformer_modules import begin_by_depth

        if self.t_fixup:
            begin_by_depth(blocks, self.block_count)

    def _affine(self, modulation: object) -> bool:
        return self.norm_affine == "always" or (self.norm_affine == "unmodulated" and modulation is None)


def heads_problem(width: int, heads: int, head_width: int | None, positions: Positions) -> str | None:
    """Return why so many heads, or heads so wide, do not fit a network of this width; None if they do."""
    by_width = head_width is not None
    given = heads if head_width is None else head_width
    divide = [n for n in range(1, width + 1) if width % n == 0]
    fits = [n for n in divide if positions.refuse_heads(n if by_width else width // n) is None]
    near = min(fits or divide, key=lambda n: abs(n - given))
    if width % given:
        what, do = (f"a head_width of {given}", "does") if by_width else (f"{given} heads", "do")
        return f"{what} {do} not divide the width {width}; the nearest that {do}: {near}"
    reason = positions.refuse_heads(given if by_width else width // given)
    if reason is None:
        return None
    head = f"{given}" if by_width else f"{width // given} ({width}/{given})"
    better = f"; the nearest {'head_width' if by_width else 'heads'} that fit: {near}" if fits else ""
    return f"positions {positions.name!r} {reason}, not {head}{better}"


def projections_problem(*mixers: Mixer) -> str | None:
    """Return why mixers cannot be begun by T-Fixup; None if they can."""
    without = [mixer.name for mixer in mixers if "projections" not in mixer.provides()]
    if not without:
        return None
    return (
        f"t_fixup scales the projections of values and output, and attention {without[0]!r} has none; "
        "take one of queries, keys and values, or say t_fixup: false"
    )


def base_problem(width: int, base_width: int, heads: int, head_width: int | None) -> str | None:
    """Return why the heads of a network do not fit its base width (muP); None if they do."""
    if head_width is None:
        near = width // heads
        keep = "under base_width heads keep their width, and their number grows"
        return f"{keep}: say head_width, such as {near}, in the place of heads"
    if base_width % head_width:
        return f"a head_width of {head_width} does not divide the base_width {base_width}"
    return None
