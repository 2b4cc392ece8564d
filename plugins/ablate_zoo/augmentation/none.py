"""augmentation `none`: training images as the data give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Augmentation, Augmented, Uniform

if TYPE_CHECKING:
    from torch import Tensor


class NoAugmentation(Augmentation):
    """Nothing beyond what the data do themselves (their `flip`)."""

    name = "none"
    default = True

    def apply(self, x0: Tensor, uniform: Uniform) -> Augmented:
        """The images as they are."""
        return Augmented(x0)
