"""The words that a U-Net's options have, which of them do not go together, and the names of what can be left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from ablate.api import Choice

if TYPE_CHECKING:
    from ablate_zoo.backbone._unet_steps import UNetStep
    from ablate_zoo.backbone.unet import UNet

Convolution = Annotated[Literal["full", "separable"], Choice("full", "separable")]
Norm = Annotated[Literal["group", "instance", "layer", "rms", "none"], Choice("group", "instance", "layer", "rms")]
Attending = Annotated[Literal["every_block", "last_block"], Choice("every_block", "last_block")]
Down = Annotated[
    Literal["strided_conv", "pool", "residual", "residual_conv"],
    Choice("strided_conv", "pool", "residual", "residual_conv"),
]
Up = Annotated[
    Literal["nearest_conv", "nearest", "residual", "residual_conv"],
    Choice("nearest_conv", "nearest", "residual", "residual_conv"),
]
Rescale = Annotated[Literal["none", "sqrt_half", "learned", "mp_sum"], Choice("none", "sqrt_half", "learned")]
NoiseEmbedding = Annotated[
    Literal["frequencies", "endpoint", "fourier", "fourier_pairs"],
    Choice("frequencies", "fourier"),
]
Activation = Annotated[Literal["silu", "mp_silu"], Choice("silu", "mp_silu")]
WeightNorm = Annotated[Literal["none", "learned", "forced"], Choice("none", "learned", "forced")]
QueryKeyNorm = Annotated[Literal["none", "cosine", "rms", "unit"], Choice("none", "cosine", "rms", "unit")]
Padding = Annotated[Literal["both", "end"], Choice("both", "end")]
ResampleFilter = Annotated[Literal["box", "fir"], Choice("box", "fir")]
BlockOrder = Annotated[Literal["norm_first", "convolution_first"], Choice("norm_first", "convolution_first")]
ClassEmbedding = Literal["after_mlp", "before_mlp"]
Without = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
    Field(max_length=1000),
    AfterValidator(lambda names: tuple(sorted(set(names)))),  # which they are decides, not how they are listed
]


def disagreement(config: UNet) -> str | None:
    """Return why the options of a U-Net cannot be had together, and what to do; None where they can."""
    unit = f"weight_norm {config.weight_norm!r} keeps weights at norm 1" if config.weight_norm != "none" else None
    joined = "class_embedding 'before_mlp' adds the class to the noise level's features"
    if config.pixel_norm and config.norm != "none":
        place = f"pixel_norm takes the place of the norms in the branches, and norm is {config.norm!r}"
        return f"{place}; say norm: none, or pixel_norm: false"
    if unit and config.zero_init:
        return f"{unit}, and zero_init begins some at zero; say zero_init: false, and output_gain: true"
    if unit and "identity_at_start" in config.conditioning.provides():
        gates = f"conditioning {config.conditioning.name!r} begins its gates at zero"
        return f"{unit}, and {gates}; take conditioning: {{type: scale, gain: true}}"
    if config.class_embedding == "before_mlp" and config.second_label:
        return f"{joined}, beside which second_label has no place; say class_embedding: after_mlp"
    if config.class_embedding == "before_mlp" and config.mp_embedding:
        return f"{joined}, and mp_embedding adds it behind the MLP; say class_embedding: after_mlp"
    if config.transformer_resolutions and config.rescale != "none":
        return "rescale is of residual blocks of convolutions; with transformer_resolutions say rescale: none"
    begins_by_depth = config.t_fixup and bool(config.transformer_resolutions)
    without = [mixer.name for mixer in config.mixers if "projections" not in mixer.provides()]
    if begins_by_depth and without:
        none = f"the projections of values and output, and attention {without[0]!r} has none"
        return f"t_fixup scales {none}; take one of queries, keys and values, or say t_fixup: false"
    if begins_by_depth and config.zero_init and "identity_at_start" not in config.conditioning.provides():
        return "t_fixup scales the last layer of each branch, which zero_init begins at zero; say zero_init: false"
    if begins_by_depth and unit:
        return f"{unit} and draws them anew, whatever t_fixup began; say t_fixup: false"
    if config.convolution == "separable" and config.separable_resolutions:
        return "convolution 'separable' is so at every size; say convolution: full, or leave separable_resolutions out"
    separable = config.convolution != "full" or config.separable_resolutions
    ends_in_norm = config.block_order == "convolution_first" and config.norm != "none"
    if ends_in_norm and config.zero_init and not config.norm_affine:
        ends = "block_order 'convolution_first' ends in a norm, whose scale zero_init begins at zero"
        return f"{ends}; say norm_affine: true, or zero_init: false"
    if config.padding == "end" and (config.down != "strided_conv" or separable):
        return "padding 'end' is that of down: strided_conv with full convolutions; say padding: both"
    return None


def block_name(step: UNetStep, side: int) -> str:
    """Return the name of a step's residual block, such as `decoder.block.32.0`. side: of the image, the shorter one."""
    return f"{step.part}.block.{side >> step.level}.{step.index}"


def attention_name(step: UNetStep, side: int) -> str:
    """Return the name of a step's self-attention, such as `decoder.attention.32.0`."""
    return f"{step.part}.attention.{side >> step.level}.{step.index}"


def is_left_out(name: str, without: Collection[str]) -> bool:
    """Return whether a part is left out, by its own name, or by a name that it begins with: `decoder.attention.32`."""
    return name in without or any(name.startswith(f"{beginning}.") for beginning in without)


def parts(config: UNet, side: int) -> Iterator[str]:
    """Yield the names of all parts that can be left out, in the order of the forward pass."""
    for step in (*config.encoder, *config.middle, *config.decoder):
        if step.resample is None:
            yield block_name(step, side)
            if config.attends(step, side):
                yield attention_name(step, side)


def without_problem(config: UNet, side: int) -> str | None:
    """Return which name of `without` is that of no part, and what is near; None where all are."""
    names = list(parts(config, side))
    steps = [name.split(".") for name in names]
    # `encoder` and `decoder` alone would say no network; `middle` is a part like others
    known = {".".join(step[:n]) for step in steps for n in range(1 if step[0] == "middle" else 2, len(step) + 1)}
    unknown = next((name for name in config.without if name not in known), None)
    if unknown is None:
        return None
    alike = [name for name in sorted(known) if name.count(".") == unknown.count(".")]
    near = get_close_matches(unknown, alike, n=1) or get_close_matches(unknown, sorted(known), n=1)
    listing = sorted({".".join(step[:3]) for step in steps})
    hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(listing)}"
    return f"without names {unknown!r}, which is no part of this U-Net; {hint}"
