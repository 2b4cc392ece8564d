"""Comparison of two sets of pictures by metrics such as FID and KID, without a trial (`ablate metrics`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from ablate.errors import InputError
from ablate.evaluation.metric_evaluator import MetricEvaluator
from ablate.kinds.data import Dataset
from ablate.kinds.metric import Metric, TrainingMetric
from ablate.pictures import Pictures
from ablate.spec.component import InputSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 250


@dataclass(frozen=True)
class PictureSet:
    """The facts of a set of pictures that was read completely and is undamaged."""

    path: str
    count: int  # without what was left out
    shape: tuple[int, int, int]
    hash: str  # SHA-256 of the pixels alone, whatever the order; as `ablate data inspect` of unlabelled pictures
    skipped: int

    @classmethod
    def of(cls, pictures: Pictures) -> PictureSet:
        """Read all pictures of a set. Raises InputError for what cannot be read, or is mixed."""
        hashes: list[bytes] = []
        for images, _ in pictures.batches(_BATCH):
            shape = images.shape[1:]
            hashes += [hashlib.sha256(image.tobytes()).digest() for image in images]
        channels, height, width = shape
        whole = hashlib.sha256(f"{channels}×{height}×{width}".encode() + b"".join(sorted(hashes)))
        path = str(pictures.source.path)
        return cls(path, len(hashes), (channels, height, width), whole.hexdigest(), len(pictures.skipped))


def compare(
    real: Pictures, generated: Pictures, metrics: Sequence[Metric], cache: Path, device: torch.device
) -> tuple[PictureSet, PictureSet, list[dict[str, Any]]]:
    """Compute the metrics; return the facts of both sets, and a row for each value as a trial's record has them.

    All pictures are read once before anything is fetched, computed or kept; then again, in batches:
    no set has to fit into memory. Raises InputError for sets that are not alike, for fewer pictures
    than a metric needs, and for metrics that cannot look at such pictures.
    """
    real_set, generated_set = PictureSet.of(real), PictureSet.of(generated)
    if real_set.shape != generated_set.shape:
        shapes = " and ".join(f"{pictures.path} {_size(pictures.shape)}" for pictures in (real_set, generated_set))
        raise InputError(f"the sets are not alike: {shapes}; bring both to one size and colour (--size, --colour)")
    for metric in metrics:
        _suits(metric, real_set, generated_set)
    channels, height, width = real_set.shape
    reference = cast("NDArray[np.uint8]", _InOrder(real, real_set))
    nothing = np.empty((0, channels, height, width), dtype=np.uint8)
    evaluator = MetricEvaluator(metrics, Dataset(nothing, None, reference, None, None, real_set.hash), cache, device)
    for images, _ in generated.batches(_BATCH):
        evaluator.see(torch.from_numpy(images).to(device))
    return real_set, generated_set, list(evaluator.values(generated_set.count))


def _suits(metric: Metric, real: PictureSet, generated: PictureSet) -> None:
    """Raise InputError where a metric cannot measure these sets."""
    if isinstance(metric, TrainingMetric):
        what = "compares with the images that were trained on, which two sets of pictures do not tell"
        raise InputError(f"metric {metric.name!r} {what}; measure the trials of a study: ablate evaluate DIR")
    few = metric.too_few(generated.count)
    if few is not None:
        raise InputError(few, generated.path)
    if metric.uses_reference and real.count < metric.fewest(None):
        raise InputError(f"metric {metric.name!r} needs at least {metric.fewest(None)} real pictures", real.path)
    for _, part in metric.parts():
        reason = part.refuse(InputSpec(real.shape, None))
        for capability, why in part.requires().items():
            reason = f"it needs {capability!r}, which pictures by themselves have not: {why}"
        if reason is not None:
            raise InputError(f"{part.kind} {part.name!r}: {reason}")


class _InOrder:
    """Pictures as an array that is read in consecutive slices, as `MetricEvaluator` does, without loading all of it."""

    def __init__(self, pictures: Pictures, facts: PictureSet) -> None:
        self._pictures = pictures
        self._count = facts.count
        self._batches: Iterator[NDArray[np.uint8]] = iter(())
        self._buffer = np.empty((0, *facts.shape), dtype=np.uint8)

    def __len__(self) -> int:
        return self._count

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (self._count, *self._buffer.shape[1:])

    def __getitem__(self, part: slice) -> NDArray[np.uint8]:
        first, last, _ = part.indices(self._count)
        if first == 0:
            self._batches = (images for images, _ in self._pictures.batches(_BATCH))
            self._buffer = self._buffer[:0]
        while len(self._buffer) < last - first:
            self._buffer = np.concatenate([self._buffer, next(self._batches)])
        images, self._buffer = self._buffer[: last - first], self._buffer[last - first :]
        return images


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"has {width}×{height} pixels in {'grey' if channels == 1 else 'colour'}"
