"""The words that a U-Net's options have, and which of them do not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from ablate.api import Choice

if TYPE_CHECKING:
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
ClassEmbedding = Literal["after_mlp", "before_mlp"]


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
    if config.padding == "end" and (config.down != "strided_conv" or config.convolution != "full"):
        return "padding 'end' is that of down: strided_conv with full convolutions; say padding: both"
    return None
