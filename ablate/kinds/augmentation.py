"""augmentation: random changes of the training images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ablate.spec.component import Component, InputSpec
from ablate.spec.inputs import ConditionSpec

if TYPE_CHECKING:
    from torch import Tensor

Uniform = Callable[[str], "Tensor"]  # name of a stream -> (B,) numbers uniform in [0, 1), by the images' numbers


class Augmented(NamedTuple):
    """Images after augmentation."""

    images: Tensor  # (B, C, H, W)
    mirrored: Tensor | None = None  # (B,) bool: those that were mirrored left to right, where nothing else changed
    told: Mapping[str, Tensor] = {}  # values of the conditions that it tells of, (B, ...)


class Augmentation(Component):
    """Changes training images at random; samples and the reference stay as they are.

    One that does more than mirror says "altered_pictures" in `provides()`: what was computed once for each training
    image is not of what the network sees then.
    """

    kind: ClassVar[str] = "augmentation"

    def conditions(self, setting: InputSpec) -> tuple[ConditionSpec, ...]:
        """Return what it tells the network of each training image. Samples are drawn for zeros of it."""
        return ()

    @abstractmethod
    def apply(self, x0: Tensor, uniform: Uniform) -> Augmented:
        """Return the images of a batch (B, C, H, W) fp32 after augmentation, alike in shape.

        uniform: draws numbers for these images, (B,) fp32, from a stream of that name; other sources would not be
        paired over candidates and batch sizes.
        """
