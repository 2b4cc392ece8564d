"""data: the images, cut into what is trained on and what is measured against."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ablate.component import Component, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Dataset:
    """Images as uint8 (N, C, H, W) and labels as int64 (N,); the two parts never overlap."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    reference_images: NDArray[np.uint8]
    reference_labels: NDArray[np.int64] | None
    classes: int | None
    hash: str  # SHA-256 of the content of both parts


class Data(Component):
    """Brings images from somewhere; it provides "labels" where they are labelled."""

    kind: ClassVar[str] = "data"

    @abstractmethod
    def setting(self) -> Setting:
        """Shape and classes, without reading the images. Raises InputError where the source is missing."""

    @abstractmethod
    def load(self, cache: Path) -> Dataset:
        """The images; what is slow to make is kept under `cache` (written atomically)."""
