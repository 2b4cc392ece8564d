"""embedder `channels`: an image joins the noisy image's channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import ConditionSpec, Embedder, EmbedderSite, InputSpec

if TYPE_CHECKING:
    from torch import nn


class Channels(Embedder):
    """Concatenates an image to the noisy one, channel by channel, at the network's input.

    So super-resolution (Saharia et al. 2021, "Image Super-Resolution via Iterative Refinement", section 2.3; Dhariwal &
    Nichol 2021, section 6), inpainting and self-conditioning (Chen et al. 2022) are told. Dropped, it is zero.
    """

    name = "channels"
    forms = ("image",)

    def refuse_condition(self, spec: ConditionSpec, setting: InputSpec) -> str | None:
        """An image of another size."""
        if spec.shape[1:] == setting.shape[1:]:
            return None
        sides, own = ("×".join(map(str, shape[1:])) for shape in (spec.shape, setting.shape))
        return f"the image {spec.name!r} is {sides}, the noisy one {own}: bring it to that size first"

    def channels(self, spec: ConditionSpec) -> int:
        """Those of the image."""
        return spec.shape[0]

    def build(self, spec: ConditionSpec, site: EmbedderSite) -> nn.Module:
        """No parameters: the network's first layer is wider."""
        from ablate_zoo.layers.conditions import ImageChannels

        return ImageChannels()
