"""backbone `unet`: convolutional U-Net, an encoder and a decoder of residual blocks joined by skip connections.

Its fields, known before anything is built; `_unet_steps` has the steps that they come to, `_unet_modules` the network,
which `_unet_builder` puts together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import (
    Added,
    Backbone,
    Choice,
    Conditioning,
    ConditionSpec,
    Embedder,
    Fusion,
    InputSpec,
    Mixer,
    Mlp,
    Opened,
    Range,
    When,
    slot,
    unread_options,
)
from ablate_zoo.backbone import _unet_inherited
from ablate_zoo.backbone._unet_options import (
    Activation,
    Attending,
    BlockOrder,
    ClassEmbedding,
    Convolution,
    Down,
    NoiseEmbedding,
    Norm,
    Padding,
    QueryKeyNorm,
    ResampleFilter,
    Rescale,
    Up,
    WeightNorm,
    Without,
    disagreement,
    without_problem,
)
from ablate_zoo.backbone._unet_steps import UNetStep, decoder_steps, divisors, encoder_steps, heads_for, nearest
from ablate_zoo.layers.inputs import unembedded

if TYPE_CHECKING:
    from torch import nn

Multiplier = Annotated[float, Field(gt=0, le=64)]
Side = Annotated[int, Field(ge=1, le=65_536)]


class UNet(Backbone):
    """U-Net of diffusion models (Ho et al. 2020; Dhariwal & Nichol 2021; Karras et al. 2022).

    A level has width·multiplier channels and half the size of the level before it. In the encoder it has
    `blocks` residual blocks, in the decoder one more, each of which takes a skip. The networks of the papers are
    files in `studies/models/`. With `low_resolution` it is one of the published upsamplers, which see a small image,
    enlarged: the condition `low_resolution` of the data.
    """

    name = "unet"

    width: Annotated[int, Field(ge=2, le=65_536), Choice(32, 64, 96, 128)] = 64  # channels that multipliers scale
    # One a level; width·m is whole.
    multipliers: Annotated[tuple[Multiplier, ...], Field(min_length=1, max_length=16)] = (1.0, 2.0, 2.0)
    stem_width: Annotated[int | None, Field(ge=1, le=65_536)] = (
        None  # of the first convolution; None: of the first level
    )
    blocks: Annotated[int, Field(ge=1, le=100), Choice(1, 2, 3)] = 2  # residual blocks a level of the encoder
    convolution: Convolution = "full"  # separable: 3×3 a channel, then 1×1
    separable_resolutions: Annotated[tuple[Side, ...], Field(max_length=16), Added(before=[])] = ()
    """sizes at which convolutions are separable, where others are full (Zhao et al. 2023, MobileDiffusion)"""
    norm: Norm = "group"  # layer, rms: over the channels of each place
    groups: Annotated[int, Field(ge=1, le=65_536), When("norm", ("group",)), Choice(4, 8, 16)] = 8

    # Sizes (of the shorter side) at which a level attends.
    attention_resolutions: Annotated[tuple[Side, ...], Field(max_length=16)] = (16,)
    # What lets places see each other; `full` is another word for softmax.
    attention: Annotated[Mixer, Opened(full="softmax")] = slot("softmax")
    outer_attention: Annotated[Mixer, Added(before={"type": "linear"})] = slot("linear")
    """in the place of `attention` at the sizes that `outer_attention_resolutions` names"""
    outer_attention_resolutions: Annotated[tuple[Side, ...], Field(max_length=16), Added(before=[])] = ()
    """of the sizes that attend, those of `outer_attention`: the large ones, where attention's cost would grow"""
    head_width: Annotated[int | None, Field(ge=1, le=65_536)] = (
        None  # channels of a head; None: `heads` says how many heads
    )
    heads: Annotated[int, Field(ge=1, le=65_536), When("head_width", (None,)), Choice(1, 2, 4)] = 4
    decoder_attention: Attending = "every_block"  # of a level's blocks
    middle_attention: bool = True  # between the two blocks of the middle

    down: Down = "strided_conv"  # residual: in a block's two ways (BigGAN); residual_conv: with 1×1 on the short one
    up: Up = "nearest_conv"  # the same, where the size doubles

    conditioning: Conditioning = slot("adagn")
    fusion: Fusion = slot("concat")
    class_condition: bool = True  # False: labels are not read
    embedders: Annotated[tuple[Embedder, ...], Field(max_length=16), Added(before=[])] = ()  # of conditions

    # Of x + h: none; sqrt_half: by √½; learned: (x + a·h)/√(1 + a²); mp_sum: ((1 − t)·x + t·h)/√((1 − t)² + t²)
    rescale: Rescale = "none"
    balance: Annotated[float, Field(gt=0, lt=1), When("rescale", ("mp_sum",)), Added(before=0.3), Range(0.1, 0.5)] = 0.3
    """t, the branch's part"""
    zero_init: bool = True  # each branch ends in a layer that starts at zero, as does the network
    dropout: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.3)] = 0.0  # before the second convolution of a block
    drop_path: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.2)] = (
        0.0  # stochastic depth: of an image's whole branch
    )
    second_label: Annotated[bool, Added(before=False)] = False  # also told towards which noise level it predicts
    learned_sigma: bool = False  # twice the channels: a prediction and an interpolation of the variance
    low_resolution: bool = False  # an upsampler: short for the embedder `channels` of the condition of that name

    # What the papers do in the one or the other way; the steps of EDM2's configurations A to G are among them
    # (Karras et al. 2024, table 1). `studies/models/` has each network's own.
    least_group: Annotated[int | None, Field(ge=1, le=65_536), Added(before=None)] = None
    """channels of a group at the least: where fewer channels are, there are fewer groups"""
    padding: Annotated[Padding, Added(before="both")] = "both"  # of strided_conv; end: zeros behind the last row alone
    resample_filter: Annotated[ResampleFilter, Added(before="box")] = "box"
    """of every resampling: box: average, nearest neighbour; fir: 1, 3, 3, 1 along each axis"""
    side_path: Annotated[bool, Added(before=False)] = False
    """the image goes down beside the encoder by convolutions, and is added at each size (NCSN++, "residual")"""
    norm_eps: Annotated[float, Field(gt=0, le=0.1), Added(before=1e-5)] = 1e-5  # ε of the norms
    block_order: Annotated[BlockOrder, Added(before="norm_first")] = "norm_first"
    """of a residual block's layers: norm, activation, convolution; or convolution, norm, activation"""
    norm_affine: Annotated[bool, Added(before=True)] = True  # norms have a learned scale, and shift
    pixel_norm: Annotated[bool, Added(before=False)] = False
    """what enters a block of the encoder is divided by the root mean square of its channels, pixel by pixel"""
    skip_first: Annotated[bool, Added(before=False)] = False
    """in the encoder a block changes size and channels of what passes by first, and its branch reads that"""
    activation: Annotated[Activation, Added(before="silu")] = "silu"  # mp_silu: SiLU(x)/0.596
    head_activation: Annotated[bool, Added(before=True)] = True  # before the last convolution
    output_gain: Annotated[bool, Added(before=False)] = False  # a learned factor of the output, 0 before training
    biases: Annotated[bool, Added(before=True)] = True  # of convolutions and linear layers, all of them
    constant_channel: Annotated[bool, Added(before=False)] = False  # a channel of ones joins those of the image
    weight_norm: Annotated[WeightNorm, Added(before="none")] = "none"
    """weights of norm 1 for each output; forced: what is trained is brought back to it after each step, too"""
    qk_norm: Annotated[QueryKeyNorm, Added(before="none")] = "none"  # of the attention's queries and keys, a head
    clip_activations: Annotated[float | None, Field(gt=0, le=1e9), Added(before=None)] = None
    """what leaves a block is kept within ± this"""
    noise_embedding: Annotated[NoiseEmbedding, Added(before="frequencies")] = "frequencies"
    """endpoint: frequencies down to 1/10,000 itself; fourier: random features; fourier_pairs: random cos and sin"""
    noise_features: Annotated[int | None, Field(ge=2, le=65_536, multiple_of=2), Added(before=None)] = None
    """how many numbers the noise level is embedded in first; None: `width`"""
    fourier_scale: Annotated[
        float, Field(gt=0, le=1000), When("noise_embedding", ("fourier_pairs",)), Added(before=16.0)
    ] = 16.0  # deviation of the random frequencies
    embedding_width: Annotated[int | None, Field(ge=2, le=65_536), Added(before=None)] = None
    """numbers of the vectors that noise level and class are embedded in; None: 4·`width`"""
    embedding_layers: Annotated[int, Field(ge=1, le=2), Added(before=2)] = 2  # of the noise level's MLP
    class_embedding: Annotated[ClassEmbedding, Added(before="after_mlp")] = "after_mlp"
    """where the class is added to the noise level: behind the MLP of that, or before it"""
    mp_embedding: Annotated[bool, Added(before=False)] = False
    """noise level and class are added by a magnitude-preserving sum, each with half the weight"""
    # Hybrids of U-Net and transformer (Hoogeboom et al. 2023).
    transformer_resolutions: Annotated[tuple[Side, ...], Field(max_length=16), Added(before=[])] = ()
    """sizes at which every block is a transformer's, of `attention` and `mlp`, in the place of convolutions"""
    mlp: Annotated[Mlp, Added(before={"type": "gelu"})] = slot("gelu")  # of transformer blocks
    mlp_ratio: Annotated[float, Field(gt=0, le=64), Added(before=4.0)] = 4.0  # its hidden width / the width
    t_fixup: Annotated[bool, Added(before=False)] = False
    """initial weights of transformer blocks by their number, for training without warm-up; their norms stay"""
    level_blocks: Annotated[
        tuple[Annotated[int, Field(ge=1, le=100)], ...] | None, Field(max_length=16), Added(before=None)
    ] = None  # blocks of each level of the encoder; None: `blocks`
    middle_blocks: Annotated[int, Field(ge=1, le=1000), Added(before=2)] = 2
    without: Annotated[Without, Added(before=[])] = ()
    """parts that are left out, such as decoder.attention.32, decoder.block.32.0, middle: what passes by them stays"""

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level, from the image's size down."""
        return tuple(round(self.width * m) for m in self.multipliers)

    @property
    def stem(self) -> int:
        """Channels after the first convolution."""
        return self.stem_width or self.channels[0]

    @property
    def blocks_of_levels(self) -> tuple[int, ...]:
        """Blocks of each level of the encoder."""
        return self.level_blocks or (self.blocks,) * len(self.multipliers)

    @property
    def mixers(self) -> tuple[Mixer, ...]:
        """What it attends by."""
        return (self.attention, self.outer_attention) if self.outer_attention_resolutions else (self.attention,)

    @property
    def taps(self) -> tuple[int, ...]:
        """Of the filter of its resampling, along each axis."""
        return {"box": (1, 1), "fir": (1, 3, 3, 1)}[self.resample_filter]

    @property
    def encoder(self) -> list[UNetStep]:
        """Its steps, from the image's size down."""
        return list(encoder_steps(self.stem, self.channels, self.blocks_of_levels))

    @property
    def middle(self) -> list[UNetStep]:
        """Its steps at the smallest size, between encoder and decoder."""
        level, width = len(self.channels) - 1, self.channels[-1]
        last = self.middle_blocks - 1
        return [UNetStep(level, width, width, part="middle", last=i == last, index=i) for i in range(last + 1)]

    @property
    def decoder(self) -> list[UNetStep]:
        """Its steps, from the smallest size up."""
        return list(decoder_steps(self.stem, self.channels, self.blocks_of_levels, self.fusion.channels))

    @model_validator(mode="after")
    def _whole_channels(self) -> Self:
        for m in self.multipliers:
            if (exact := self.width * m) < 1 or exact != round(exact):
                near = max(round(exact), 1) / self.width
                raise ValueError(f"multiplier {m} of width {self.width} is {exact:g} channels; the nearest: {near:g}")
        return self

    @model_validator(mode="after")
    def _blocks_of_each_level(self) -> Self:
        levels = len(self.multipliers)
        if self.level_blocks is not None and len(self.level_blocks) != levels:
            raise ValueError(
                f"level_blocks has {len(self.level_blocks)} numbers, and multipliers {levels}: one a level"
            )
        return self

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        normed = {n for step in (*self.encoder, *self.decoder) for n in (step.inputs, step.outputs)}
        bad = [n for n in sorted(normed) if n % self.groups_of(n)]
        if self.norm == "group" and bad:
            near = nearest(self.groups, divisors(*normed))
            raise ValueError(
                f"{self.groups} groups do not divide {bad[0]} channels; the nearest that divide all: {near}"
            )
        return self

    @model_validator(mode="after")
    def _middle_heads_divide(self) -> Self:
        if self.middle_attention and (problem := self._heads_problem({self.channels[-1]})):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        if problem := disagreement(self):
            raise ValueError(problem)
        return self

    def provides(self) -> frozenset[str]:
        """Feature maps to condition; a null class, the variance where it is learned, and a second noise label."""
        offers = {"null_class": self.class_condition, "learned_variance": self.learned_sigma}
        offers["second_label"] = self.second_label
        return frozenset({"feature_maps"} | {word for word, offered in offers.items() if offered})

    def excludes(self) -> Mapping[str, str]:
        """An adapter, where weights are normalised; weight decay, where they are kept at one norm."""
        if self.weight_norm == "none":
            return {}
        unit = (
            f"weight_norm {self.weight_norm!r} normalises what is trained, and an adapter adds to weights that are not"
        )
        adapted = {"adapted_weights": f"{unit}; say adapter: none, or start from a network with weight_norm: none"}
        if self.weight_norm == "learned":
            return adapted
        return adapted | {
            "weight_decay": "weight_norm 'forced' keeps the weights' norm, which a decay pulls at: say weight_decay: 0"
        }

    def unread_fields(self) -> Mapping[str, str]:
        """Heads, where neither its attention nor its conditioning reads them, and other options of attention."""
        fields = {"heads": ["heads", "head_width"], "query_key_norm": ["qk_norm"]}
        of_each = [unread_options(fields, mixer, self.conditioning) for mixer in self.mixers]
        unread = {field: why for field, why in of_each[0].items() if all(field in each for each in of_each)}
        if not self.outer_attention_resolutions:
            unread["outer_attention"] = "outer_attention_resolutions names no size"
        if self.transformer_resolutions:
            return unread
        return {**unread, **dict.fromkeys(("mlp", "mlp_ratio", "t_fixup"), "no block is a transformer's")}

    def requires(self) -> Mapping[str, str]:
        """A loss that makes use of a learned variance; the images that an upsampler starts from."""
        needs = {}
        if self.learned_sigma:
            needs["variance_loss"] = "learned_sigma gives a variance that no loss trains; set it to false, or the loss"
        if self.low_resolution:
            needs["low_resolution"] = "an upsampler sees a small image too; say data.conditions: [low_resolution]"
        return needs

    def reads(self, setting: InputSpec) -> frozenset[str]:
        """Those of its embedders, what the candidate's own parts tell, and the small image of an upsampler."""
        own = {spec.name for spec in unembedded(self.embedders, setting)}
        return super().reads(setting) | own | ({"low_resolution"} if self.low_resolution else set())

    def refuse(self, setting: InputSpec) -> str | None:
        """The levels must halve the image, attention act at the size of one, and heads divide its channels."""
        _, height, width = setting.shape
        small = [c for c in setting.conditions if c.name == "low_resolution"] if self.low_resolution else []
        if any((c.form, c.shape) != ("image", setting.shape) for c in small):
            return f"an upsampler sees an image like the noisy one, and the condition is {small[0]}"
        if any(e.of == "low_resolution" for e in self.embedders if small):
            return "low_resolution: true embeds the small image already; leave one of the two out"
        depth = len(self.multipliers)
        if height % 2 ** (depth - 1) or width % 2 ** (depth - 1):
            near = max(d for d in range(1, depth + 1) if height % 2 ** (d - 1) == width % 2 ** (d - 1) == 0)
            return f"{depth} levels halve {height}×{width} {depth - 1} times, which does not divide; it does for {near}"
        sides = [min(height, width) >> level for level in range(depth)]
        attending = [("attention", size) for size in (*self.attention_resolutions, *self.transformer_resolutions)]
        for what, size in (*attending, *(("separable convolutions", size) for size in self.separable_resolutions)):
            if size not in sides:
                near = nearest(size, sides)
                sizes = ", ".join(map(str, sides))
                return f"{what} at size {size}, which does not occur: the levels have {sizes}; the nearest: {near}"
        within = {sides[-1]} if self.middle_attention else set()
        attends = within | set(self.attention_resolutions) | set(self.transformer_resolutions)
        for size in self.outer_attention_resolutions:
            if size not in attends:
                sizes = ", ".join(map(str, sorted(attends, reverse=True))) or "none"
                return f"outer_attention_resolutions names size {size}, where nothing attends; sizes that do: {sizes}"
        attended = {
            self.channels[i]
            for i, side in enumerate(sides)
            if side in (*self.attention_resolutions, *self.transformer_resolutions)
        }
        if problem := self._heads_problem(attended):
            return problem
        if problem := without_problem(self, min(height, width)):
            return problem
        places = (height * width) >> 2 * (depth - 1)
        least = {"group": min(n // self.groups_of(n) for n in self.channels), "instance": 1}.get(self.norm)
        if least is not None and least * places == 1:
            return f"norm {self.norm!r} has one number to average at size {sides[-1]}: take fewer levels or groups"
        return None

    def _heads_problem(self, attended: set[int]) -> str | None:
        """Why the heads do not fit the channels that are attended; None if they do."""
        field, number = ("heads", self.heads) if self.head_width is None else ("head_width", self.head_width)
        bad = [n for n in sorted(attended) if n % number]
        if not bad:
            return None
        near = nearest(number, divisors(*attended))
        return f"{field} {number} does not divide {bad[0]} channels; the nearest that divides all: {near}"

    def attends(self, step: UNetStep, side: int) -> bool:
        """Return whether self-attention follows a step's block. side: of the image, the shorter one."""
        if self.is_transformer(step, side):
            return False  # its blocks do
        if step.part == "middle":
            return self.middle_attention and (not step.last or self.middle_blocks == 1)
        at_this_size = side >> step.level in self.attention_resolutions
        return at_this_size and (step.part == "encoder" or step.last or self.decoder_attention == "every_block")

    def mixer_of(self, step: UNetStep, side: int) -> Mixer:
        """Return what attends at a step's size."""
        return self.outer_attention if side >> step.level in self.outer_attention_resolutions else self.attention

    def is_separable(self, step: UNetStep, side: int) -> bool:
        """Return whether the 3×3 convolutions of a step are separable."""
        return self.convolution == "separable" or side >> step.level in self.separable_resolutions

    def is_transformer(self, step: UNetStep, side: int) -> bool:
        """Return whether a step's block is one of a transformer."""
        return step.resample is None and side >> step.level in self.transformer_resolutions

    def groups_of(self, channels: int) -> int:
        """How many groups the norm of that many channels has."""
        return self.groups if self.least_group is None else max(1, min(self.groups, channels // self.least_group))

    def heads_of(self, channels: int) -> int:
        """How many heads attend at that many channels; where the wanted number does not divide them, fewer."""
        return heads_for(channels, self.heads if self.head_width is None else channels // self.head_width)

    def places(self, parent: Backbone, names: Sequence[str]) -> Mapping[str, str]:
        """Blocks of a level keep theirs, whatever the others have; see `_unet_inherited`."""
        if not isinstance(parent, UNet):
            return super().places(parent, names)
        return _unet_inherited.places(self, parent, names)

    def pass_through(self, network: nn.Module, new: Collection[str]) -> None:
        """New blocks pass on what they are given."""
        _unet_inherited.pass_through(network, new, "identity_at_start" in self.conditioning.provides())

    def build(self, setting: InputSpec) -> nn.Module:
        """`UNet` of `ablate_zoo.backbone._unet_modules`, its parts made by `UNetBuilder`."""
        from torch import nn

        from ablate_zoo.backbone import _unet_modules as modules
        from ablate_zoo.backbone._transformer_modules import Block, begin_by_depth
        from ablate_zoo.backbone._unet_builder import UNetBuilder
        from ablate_zoo.layers.conditions import ImageChannels, embedders, joined_channels
        from ablate_zoo.layers.magnitudes import Gain, activation_of, normalise_weights, strip_biases

        image = setting.shape[0]
        builder = UNetBuilder(self, setting)
        norm = builder.norm(self.channels[0])
        outputs = image * (2 if self.learned_sigma else 1)
        further_inputs = 1 if self.constant_channel else 0
        upsampled = [(ConditionSpec("low_resolution", "image", setting.shape), ImageChannels())]
        further = embedders(self.embedders, setting, builder.embedding, upsampled if self.low_resolution else ())
        beside = joined_channels(self.embedders, setting) + (image if self.low_resolution else 0)
        classes = setting.classes if further is None or "class" not in further.parts else None
        network = modules.UNet(
            (image + beside + further_inputs, self.stem, self.channels[0], outputs),
            builder.condition(classes if self.class_condition else None, further),
            [builder.cell(step) for step in self.encoder],
            builder.middle(),
            [builder.cell(step) for step in self.decoder],
            norm,
            activation_of(self.activation)() if self.head_activation else nn.Identity(),
            Gain() if self.output_gain else None,
            self.constant_channel,
            builder.side_path(image + beside + further_inputs),
        )
        if self.t_fixup and (blocks := [m for m in network.modules() if isinstance(m, Block)]):
            begin_by_depth(blocks, len(blocks))
        if self.zero_init:
            modules.begin_at_zero(network.head)
        if not self.biases:
            strip_biases(network)
        if self.weight_norm != "none":
            normalise_weights(network, self.weight_norm == "forced")
        return network
