"""Computation of metrics: features of generated images, compared with cached features of the reference images."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.io.files import content_digest, digest, write_atomic
from ablate.kinds.data import Dataset
from ablate.kinds.features import Features, HeadsExtractor
from ablate.kinds.metric import Collector, Metric, TrainingMetric

Pause = Callable[[], None]  # called now and then; it may raise to stop

PARTS = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}  # of the reference, by number
_BATCH = 250  # reference images that are looked at at a time


def go_on() -> None:
    """Do nothing: the `pause` of a caller that is never stopped."""


class MetricEvaluator:
    """Computes metrics of any number of sets of images, one after the other: `begin`, `see` (in batches), `values`.

    reference: which of the reference images they are compared with, a key of `PARTS`.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        dataset: Dataset,
        cache: Path,
        device: torch.device,
        pause: Pause = go_on,
        reference: str = "all",
    ) -> None:
        self._part = reference
        self._place = (dataset, cache, device, pause)
        self._metrics = metrics
        self._ready = {_key(m): prepared(m.features, *self._place) for m in metrics}
        heads = _heads(metrics)
        self._looks = {key: _extractor(self._ready[key], device, frozenset(heads[key])) for key in self._ready}
        self.begin()

    def begin(self) -> None:
        """Forget the images seen so far."""
        self._seen: dict[tuple[str, str, type], Collector] = {
            (_key(m), m.head, m.collects): m.collects() for m in self._metrics
        }

    def see(self, images: Tensor) -> None:
        """Extract the features of a batch of generated images, uint8 (B, C, H, W)."""
        for key, look in self._looks.items():
            features_of = {head: vectors.double().cpu().numpy() for head, vectors in look(images).items()}
            for (features, head, _), collector in self._seen.items():
                if features == key:
                    collector.add(features_of[head])

    def values(self, samples: int) -> Iterator[dict[str, Any]]:
        """Compute the metrics of the `samples` images seen; yield each value with what identifies it."""
        dataset = self._place[0]
        for metric in self._metrics:
            key = _key(metric)
            features = self._ready[key]
            reference = self._reference(metric)
            generated = self._seen[key, metric.head, metric.collects].collected()
            if isinstance(metric, TrainingMetric):
                result = metric.compare(generated, reference, self._training(metric))
            else:
                result = metric.compute(generated, reference)
            for name, column in metric.columns(samples, len(reference)).items():
                measured = result[name] if isinstance(result, Mapping) else result
                yield {
                    "metric": column,
                    "features": features.name,
                    "samples": samples,
                    "value": _finite_or_none(measured.value),
                    "error": _finite_or_none(measured.error),
                    "features_hash": features.identity(),
                    "reference": self._part,
                    "reference_hash": dataset.hash if self._part == "all" else digest([dataset.hash, self._part]),
                }

    def _reference(self, metric: Metric) -> NDArray[np.floating[Any]]:
        """Return the features of the reference images; empty for a metric without a reference."""
        if not metric.uses_reference:
            return np.empty((0, 0))
        heads = _heads(m for m in self._metrics if m.uses_reference)[_key(metric)]
        table = reference_features(self._ready[_key(metric)], heads, *self._place)[metric.head]
        return table[PARTS[self._part]]

    def _training(self, metric: TrainingMetric) -> NDArray[np.floating[Any]]:
        """Return the features of the images that were trained on."""
        heads = _heads(m for m in self._metrics if isinstance(m, TrainingMetric))[_key(metric)]
        return training_features(self._ready[_key(metric)], heads, *self._place)[metric.head]


def prepare_references(
    metrics: Sequence[Metric], dataset: Dataset, cache: Path, device: torch.device, pause: Pause = go_on
) -> None:
    """Compute and cache what all evaluations share: the feature extractors' weights, the features of real images."""
    heads = _heads(metric for metric in metrics if metric.uses_reference)
    of_training = _heads(metric for metric in metrics if isinstance(metric, TrainingMetric))
    for metric in metrics:
        features = prepared(metric.features, dataset, cache, device, pause)
        if _key(metric) in heads:
            reference_features(features, heads[_key(metric)], dataset, cache, device, pause)
        if _key(metric) in of_training:
            training_features(features, of_training[_key(metric)], dataset, cache, device, pause)


def _heads(metrics: Iterable[Metric]) -> dict[str, set[str]]:
    """Return the heads of each feature extractor that metrics use."""
    heads: dict[str, set[str]] = {}
    for metric in metrics:
        heads.setdefault(_key(metric), set()).add(metric.head)
    return heads


def _key(metric: Metric) -> str:
    return digest(metric.features.active())


_prepared: dict[tuple[str, str, str], Features] = {}


def prepared(features: Features, dataset: Dataset, cache: Path, device: torch.device, pause: Pause) -> Features:
    """Prepare a feature extractor (fetch its weights), once a process."""
    key = (digest(features.spec()), dataset.hash, str(cache))
    if key not in _prepared:
        _prepared[key] = features.prepare(dataset, cache, device, pause)
    return _prepared[key]


@lru_cache(maxsize=8)
def _extractor(features: Features, device: torch.device, heads: frozenset[str]) -> HeadsExtractor:
    """Load the feature extractor's network, once a process."""
    return features.build_heads(device, heads)


_tables: dict[str, NDArray[np.floating[Any]]] = {}  # features of real images, by what decides them


def reference_features(
    features: Features,
    heads: set[str],
    dataset: Dataset,
    cache: Path,
    device: torch.device,
    pause: Pause = go_on,
) -> dict[str, NDArray[np.floating[Any]]]:
    """Return the features {head: (M, D)} of the reference images, in the precision in which they were computed.

    They are kept on disk under the hashes of features and data, and mapped into memory from there; what
    was cut short or changed since it was written is computed anew.
    """
    keys = {head: digest([features.identity(), dataset.hash, head]) for head in heads}
    return _kept(features, keys, lambda: dataset.reference_images, cache, device, pause)


def training_features(
    features: Features,
    heads: set[str],
    dataset: Dataset,
    cache: Path,
    device: torch.device,
    pause: Pause = go_on,
) -> dict[str, NDArray[np.floating[Any]]]:
    """Return the features {head: (K, D)} of the images that were trained on, as `reference_features`.

    Of latents those of the pictures that they were made from; raises InputError where nobody knows them.
    """
    keys = {head: digest([features.identity(), dataset.hash, head, "training"]) for head in heads}
    return _kept(features, keys, lambda: dataset.behind().images, cache, device, pause)


def _kept(
    features: Features,
    keys: Mapping[str, str],
    images: Callable[[], NDArray[Any]],
    cache: Path,
    device: torch.device,
    pause: Pause,
) -> dict[str, NDArray[np.floating[Any]]]:
    """Return the features of images by head; keys: {head: hash of what decides them}."""
    files = {head: cache / "features" / f"{key}.npy" for head, key in keys.items()}
    missing = {head for head, key in keys.items() if key not in _tables and not _is_whole(files[head])}
    if missing:
        for head, vectors in _extract(features, missing, images(), device, pause).items():
            content = io.BytesIO()
            np.save(content, vectors, allow_pickle=False)
            write_atomic(files[head], content.getvalue())
            write_atomic(_checksum_file(files[head]), content_digest(files[head]))
    for head, key in keys.items():
        if key not in _tables:
            _tables[key] = np.load(files[head], mmap_mode="r", allow_pickle=False)
    return {head: _tables[key] for head, key in keys.items()}


def _checksum_file(file: Path) -> Path:
    """Return the file that holds the checksum of a cached file."""
    return file.with_suffix(".sum")


def _is_whole(file: Path) -> bool:
    """Return whether a cached file is there and undamaged."""
    try:
        return _checksum_file(file).read_text() == content_digest(file)
    except (OSError, UnicodeDecodeError):
        return False


def _extract(
    features: Features, heads: set[str], images: NDArray[np.uint8], device: torch.device, pause: Pause
) -> dict[str, NDArray[np.floating[Any]]]:
    look = _extractor(features, device, frozenset(heads))
    parts: dict[str, list[NDArray[np.floating[Any]]]] = {head: [] for head in heads}
    with torch.inference_mode():
        for first in range(0, len(images), _BATCH):
            pause()
            batch = torch.from_numpy(np.ascontiguousarray(images[first : first + _BATCH])).to(device)
            for head, vectors in look(batch).items():
                parts[head].append(vectors.cpu().numpy())
    return {head: np.concatenate(of) for head, of in parts.items()}


def _finite_or_none(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
