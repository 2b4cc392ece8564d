"""features: the feature extractor of a metric, uint8 images -> vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from ablate.io.files import digest
from ablate.spec.component import Component

if TYPE_CHECKING:
    from collections.abc import Set
    from pathlib import Path

    import torch
    from torch import Tensor

    from ablate.kinds.data import Dataset

Extractor = Callable[["Tensor"], "Tensor"]
HeadsExtractor = Callable[["Tensor"], Mapping[str, "Tensor"]]

POOLED = "pooled"  # the head that all features have: one vector of what is in the image


class Features(Component):
    """A fixed feature extractor; metrics are named after it.

    A network has one output, or several *heads*; a metric names the one that it looks at. All have
    `pooled`, the only one that needs no more than `build`.
    """

    kind: ClassVar[str] = "features"

    # Names of values that only these features may carry: {value: (canonical name, least samples)}; a metric that
    # compares with a reference needs as many pictures in that.
    canonical: ClassVar[dict[str, tuple[str, int]]] = {}

    def heads(self) -> Mapping[str, int | None]:
        """Return {head: dimensions D of its vectors}; None where D is not known before the network is built."""
        return {POOLED: None}

    def prepare(self, dataset: Dataset, cache: Path, device: torch.device, pause: Callable[[], None]) -> Features:
        """Return the same features, ready to be built: weights fetched into `cache`, or trained on the data set.

        Called once before anything is measured; again, it finds what lies in the cache. Raises
        InputError where the weights are not to be had. `pause` is to be called now and then; it may
        raise to stop.
        """
        return self

    def missing(self, cache: Path) -> str | None:
        """Return what `prepare` would have to download first, for people; None where nothing is."""
        return None

    @abstractmethod
    def build(self, device: torch.device) -> Extractor:
        """Build the extractor: images (B, C, H, W) uint8, C = 1 or 3, of any size -> features (B, D) fp32."""

    def build_heads(self, device: torch.device, heads: Set[str]) -> HeadsExtractor:
        """Build the same for several heads at once: images -> {head: (B, D) fp32}, computed in one pass."""
        extract = self.build(device)
        return lambda images: {POOLED: extract(images)}

    def patches(self) -> tuple[int, int, int] | None:
        """Return (D, rows, columns) of the spatial features; None where D is not known before the network is built.

        Known before `prepare`. Here, of features that have no others, the pooled vector as a map of one place.
        """
        size = self.heads().get(POOLED)
        return None if size is None else (size, 1, 1)

    def build_patches(self, device: torch.device) -> Extractor:
        """Build the extractor of the spatial features: images -> (B, D, rows, columns) fp32, as `patches` says."""
        extract = self.build(device)
        return lambda images: extract(images)[:, :, None, None]

    @abstractmethod
    def weights_hash(self) -> str:
        """Return the SHA-256 of the weights, without loading them. Raises InputError if `prepare` must come first."""

    def identity(self) -> str:
        """Return the SHA-256 of weights and fields: part of the identity of everything measured with them.

        The weights alone do not decide a feature: the size that images are brought to does too.
        """
        return digest({"features": self.active(), "weights": self.weights_hash()})
