"""features: the eyes of a metric, uint8 images -> vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from ablate.component import Component, digest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Extractor = Callable[["Tensor"], "Tensor"]


class Features(Component):
    """A fixed network that looks at images; metrics are named after it."""

    kind: ClassVar[str] = "features"

    # Metric names that only these features may carry: {metric: (canonical name, least samples)}.
    canonical: ClassVar[dict[str, tuple[str, int]]] = {}

    @abstractmethod
    def build(self, device: torch.device) -> Extractor:
        """Images (B, C, H, W) uint8, C = 1 or 3, any size -> features (B, D) fp32. It resizes by its own rule."""

    @abstractmethod
    def weights_hash(self) -> str:
        """SHA-256 of the weights, without loading them."""

    def identity(self) -> str:
        """SHA-256 of weights and fields together: part of the identity of everything measured with them.

        The weights alone do not decide a feature: the size that images are brought to does too.
        """
        return digest({"features": self.active(), "weights": self.weights_hash()})
