"""augmentation `flip`: horizontal flips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Augmentation, Augmented, Uniform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class Flip(Augmentation):
    """Horizontal flips: an image is mirrored, left to right, with a probability.

    The model learns the mirrored images too: right for faces and landscapes, wrong for digits and writing. Data that
    have a `flip` of their own do the same at a half, and latents are mirrored there, where their encoder is known.
    """

    name = "flip"

    probability: Annotated[float, Field(ge=0, le=1)] = 0.5

    def excludes(self) -> Mapping[str, str]:
        """Latents, and data that flip themselves."""
        return {
            "latents": "a mirrored latent is not the latent of the mirrored image; use the data's own 'flip'",
            "mirrored_pictures": "the data mirror every second image already; leave out one of the two",
        }

    def apply(self, x0: Tensor, uniform: Uniform) -> Augmented:
        """Mirrored or not, image by image."""
        import torch

        mirrored = uniform("flip") < self.probability
        return Augmented(torch.where(mirrored[:, None, None, None], x0.flip(-1), x0), mirrored)
