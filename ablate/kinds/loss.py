"""loss: one number for each image from its prediction."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.kinds.noised import Noised
    from ablate.kinds.process import Process


class Loss(Component):
    """Compares a prediction with the target, image by image.

    One that is the mean over an image's numbers of what each costs by itself, nothing where it is the target's, says
    "elementwise" in `provides()`: then an objective may take it over a part of the image.
    """

    kind: ClassVar[str] = "loss"

    @abstractmethod
    def compute(self, prediction: Tensor, batch: Noised, process: Process) -> Tensor:
        """Compute the loss of each image, (B,), in fp32.

        prediction: (B, C, H, W) in the target's own terms, with 2·C channels where the backbone
        learns the variance.
        """
