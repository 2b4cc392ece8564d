"""Real digits and their features, for benchmarks of metrics: MNIST at 16×16, 1,000 pictures held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.discovery.catalog import catalog
from ablate.kinds.data import Data
from ablate.kinds.features import Extractor, Features
from ablate.runtime.machine import cache_folder

BATCH = 250


@dataclass(frozen=True)
class Digits:
    """Pictures, uint8 (N, 1, 16, 16), and what looks at them."""

    training: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    extract: Extractor
    device: torch.device

    @classmethod
    def load(cls, features: str, device: str) -> Digits:
        """Load them, and the features' weights."""
        known, place = catalog(), torch.device(device)
        dataset = known.create(Data, {"type": "mnist", "size": 16, "reference": 1000}).load(cache_folder())
        ready = known.create(Features, features).prepare(dataset, cache_folder(), place, lambda: None)
        images = np.asarray(dataset.images, dtype=np.uint8)
        return cls(images, np.asarray(dataset.reference_images), ready.build(place), place)

    def vectors(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return features (N, D) of pictures."""
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        with torch.inference_mode():
            batches = (torch.from_numpy(np.ascontiguousarray(part)).to(self.device) for part in parts)
            found = [self.extract(batch).cpu().numpy() for batch in batches]
        return np.concatenate(found).astype(np.float64)
