"""backbone: the network, (noisy image, noise label, class label) -> prediction."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component, InputSpec

if TYPE_CHECKING:
    from torch import nn


class Backbone(Component):
    """Builds the denoising network of a candidate.

    Capabilities that other components look for: "null_class" (takes the label `classes` as "no
    class"), "learned_variance" (gives 2·C channels, the second half for Σ), and whatever its own
    slots need of it, such as "tokens" or "feature_maps" for a conditioning.
    """

    kind: ClassVar[str] = "backbone"

    @abstractmethod
    def build(self, setting: InputSpec) -> nn.Module:
        """A module `forward(x, noise, labels)`.

        x: (B, C, H, W) float; noise: (B,) float, the label c_noise of the noise level; labels:
        (B,) int64 in [0, classes], where `classes` is the null class, or None for data without
        labels. Returns (B, C, H, W), or (B, 2·C, H, W) with "learned_variance". It draws its
        initial weights from torch's global generator, and can be built on the meta device.
        """
