"""augmentation `edm`: flips, scaling, rotation, stretching and shifts, which the network is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Augmentation, Augmented, Choice, ConditionSpec, InputSpec, Uniform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

PARAMETERS = 9  # that the network is told


class Edm(Augmentation):
    """Non-leaking augmentation (Karras et al. 2022, appendix F.2, table 6): seven geometric changes in a row.

    Mirrored left to right in half of the images; and each of the others with a `probability` of its own draw: mirrored
    upside down, scaled by `scale`^n, turned by any angle, stretched by `stretch`^n along any direction, shifted by
    `shift`·n of the sides, n standard normal. What lies outside is the mirror image. The network is told nine
    parameters, zero where nothing was done, as the condition `augmentation`; samples are drawn for zeros, so they are
    not augmented. A network without an embedder for it takes it in by a linear layer, as EDM does.
    The paper resamples by wavelets; here it is bicubic, of the image enlarged twice, and averaged down. Images that are
    mirrored alone stay exact.
    """

    name = "edm"

    probability: Annotated[float, Field(ge=0, le=1), Choice(0.12, 0.15)] = 0.12  # of each change; 0.15 for FFHQ
    mirror: Annotated[float, Field(ge=0, le=1)] = 0.5  # probability of left to right
    scale: Annotated[float, Field(ge=1, le=4)] = 2**0.2
    stretch: Annotated[float, Field(ge=1, le=4)] = 2**0.2
    shift: Annotated[float, Field(ge=0, le=1)] = 0.125  # of a side

    def provides(self) -> frozenset[str]:
        """What was computed of the training images beforehand is of others."""
        return frozenset({"altered_pictures"})

    def excludes(self) -> Mapping[str, str]:
        """Latents, and data that flip themselves."""
        return {
            "latents": "a turned latent is not the latent of the turned image",
            "mirrored_pictures": "the data mirror images by themselves, and do not tell the network; leave one out",
        }

    def conditions(self, setting: InputSpec) -> tuple[ConditionSpec, ...]:
        """The parameters."""
        return (ConditionSpec("augmentation", "scalars", (PARAMETERS,), held=True),)

    def apply(self, x0: Tensor, uniform: Uniform) -> Augmented:
        """Draw, and change those images for which something was drawn."""
        from ablate_zoo.augmentation._geometric import Draws, transformed

        draws = Draws(uniform, self.probability)
        images, parameters = transformed(x0, draws, self.mirror, self.scale, self.stretch, self.shift)
        return Augmented(images, told={"augmentation": parameters})
