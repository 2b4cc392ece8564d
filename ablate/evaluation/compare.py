"""Two sets of pictures, measured against each other: what a trial's metrics do, without a trial."""

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
from ablate.kinds.metric import Metric
from ablate.pictures import Pictures
from ablate.spec.component import InputSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 250


@dataclass(frozen=True)
class Seen:
    """A set of pictures that was read from beginning to end, and is sound."""

    path: str
    count: int  # without what was left out
    shape: tuple[int, int, int]
    hash: str  # SHA-256 of the pixels alone, whatever the order; as `ablate data inspect` of unlabelled pictures
    skipped: int

    @classmethod
    def of(cls, pictures: Pictures) -> Seen:
        """Read all of them. Raises InputError for what cannot be read, or is mixed."""
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
) -> tuple[Seen, Seen, list[dict[str, Any]]]:
    """Both sets, and a row for each value with its identity, as a trial's record has them.

    All pictures are read once before anything is fetched, computed or kept; then again, in batches:
    no set has to fit into memory. Raises InputError for sets that are not alike, for fewer pictures
    than a metric needs, and for metrics that cannot look at such pictures.
    """
    known, made = Seen.of(real), Seen.of(generated)
    if known.shape != made.shape:
        told = " and ".join(f"{one.path} {_size(one.shape)}" for one in (known, made))
        raise InputError(f"the sets are not alike: {told}; bring both to one size and colour (--size, --colour)")
    for metric in metrics:
        _suits(metric, known, made)
    channels, height, width = known.shape
    reference = cast("NDArray[np.uint8]", _InOrder(real, known))
    nothing = np.empty((0, channels, height, width), dtype=np.uint8)
    judge = MetricEvaluator(metrics, Dataset(nothing, None, reference, None, None, known.hash), cache, device)
    for images, _ in generated.batches(_BATCH):
        judge.see(torch.from_numpy(images).to(device))
    return known, made, list(judge.values(made.count))


def _suits(metric: Metric, real: Seen, generated: Seen) -> None:
    """Raise InputError where a metric cannot measure these sets."""
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
    """Pictures as an array of which slices are taken from the first to the last: all that a judge asks of it."""

    def __init__(self, pictures: Pictures, seen: Seen) -> None:
        self._pictures = pictures
        self._count = seen.count
        self._batches: Iterator[NDArray[np.uint8]] = iter(())
        self._held = np.empty((0, *seen.shape), dtype=np.uint8)

    def __len__(self) -> int:
        return self._count

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (self._count, *self._held.shape[1:])

    def __getitem__(self, part: slice) -> NDArray[np.uint8]:
        first, last, _ = part.indices(self._count)
        if first == 0:
            self._batches = (images for images, _ in self._pictures.batches(_BATCH))
            self._held = self._held[:0]
        while len(self._held) < last - first:
            self._held = np.concatenate([self._held, next(self._batches)])
        taken, self._held = self._held[: last - first], self._held[last - first :]
        return taken


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"has {width}×{height} pixels in {'grey' if channels == 1 else 'colour'}"
