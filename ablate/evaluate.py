"""Measuring: sample with the averaged weights, look at the images, compare with the reference."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablate.candidate import Candidate
from ablate.component import Setting, digest
from ablate.files import write_atomic
from ablate.kinds.data import Dataset
from ablate.kinds.features import Features
from ablate.kinds.process import Process
from ablate.randomness import Draws
from ablate.trial import Evaluation

Pause = Callable[[], None]  # called between two evaluations of a network; it may raise to stop
QUANTISATION = "floor(x*127.5+128)"  # from [-1, 1] to uint8: part of a measurement's identity


class NotFiniteError(ArithmeticError):
    """Samples that hold NaN or infinity: the candidate diverged, though its loss did not tell."""


def go_on() -> None:
    """The pause of one who is never stopped."""


def quantise(x: Tensor) -> Tensor:
    """[-1, 1] to uint8, once, before anything looks at it: floor(x·127.5 + 128), clipped."""
    return (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)


class Sampler:
    """Draws images from a network. Latents and labels are paired over the candidates of a seed."""

    def __init__(
        self,
        candidate: Candidate,
        process: Process,
        setting: Setting,
        seed: int,
        device: torch.device,
        companion: nn.Module | None = None,
    ) -> None:
        self.companion = None if companion is None else companion.eval()  # as it is at the end of training
        self.candidate = candidate
        self.process = process
        self.setting = setting
        self.device = device
        self.draws = Draws(seed, device)

    @torch.inference_mode()
    def batches(
        self, network: nn.Module, weights: Mapping[str, Tensor], samples: int, batch: int, pause: Pause = go_on
    ) -> Iterator[tuple[Tensor, int]]:
        """Images (B, C, H, W) uint8 and the calls of the denoiser that they took, until `samples` are there.

        Raises NotFiniteError where an image is not finite.
        """

        def predict(x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
            with self.candidate.precision.forward(self.device):
                output: Tensor = averaged(x, c_noise, labels)
            return output

        averaged = deepcopy(network).eval()
        averaged.load_state_dict(dict(weights), strict=False)  # an average holds parameters, not buffers
        solver, guidance, classes = self.candidate.solver, self.candidate.guidance, self.setting.classes
        for number, first in enumerate(range(0, samples, batch)):
            count = min(batch, samples - first)
            labels = None
            if classes is not None:
                labels = torch.arange(first, first + count, device=self.device) % classes
            denoise = self.process.denoiser(predict, guidance, labels, classes or 0, self.companion)
            generator = self.draws.at("latents", number)
            latents = torch.randn(count, *self.setting.shape, device=self.device, generator=generator)
            x = self.process.prior(latents)
            nfe = 0
            for state in solver.sample(denoise, x, self.candidate.schedule, generator):
                x, nfe = state.x, state.nfe
                pause()
            if not bool(torch.isfinite(x).all()):
                raise NotFiniteError(f"samples {first} to {first + count - 1} are not all finite")
            yield quantise(x), nfe


def measure(
    candidate: Candidate,
    process: Process,
    setting: Setting,
    network: nn.Module,
    averages: Mapping[str, Mapping[str, Tensor]],
    dataset: Dataset,
    evaluation: Evaluation,
    seed: int,
    images: int,
    cache: Path,
    device: torch.device,
    pause: Pause = go_on,
    companion: nn.Module | None = None,
) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
    """Rows of the metrics table, one an average and metric, and the first samples of the first average.

    `pause` is called between batches; it may raise to stop. `companion` is the network of a guidance
    that has trained one.
    """
    sampler = Sampler(candidate, process, setting, seed, device, companion)
    rows: list[dict[str, Any]] = []
    previews: list[NDArray[np.uint8]] = []
    wanted = {digest(m.features.active()): m.features for m in evaluation.metrics}
    extractors = {key: _extractor(features, device) for key, features in wanted.items()}
    samples = evaluation.samples if evaluation.metrics else evaluation.previews
    for label, weights in averages.items():
        seen: dict[str, list[NDArray[np.float64]]] = {key: [] for key in wanted}
        nfe = 0
        for pixels, calls in sampler.batches(network, weights, samples, evaluation.batch, pause):
            nfe = calls
            for key, extract in extractors.items():
                seen[key].append(extract(pixels).double().cpu().numpy())
            if not rows and sum(map(len, previews)) < evaluation.previews:
                previews.append(pixels.cpu().numpy())
        for metric in evaluation.metrics:
            key = digest(metric.features.active())
            generated = np.concatenate(seen[key])
            reference = reference_features(metric.features, dataset, cache, device, pause)
            measurement = metric.compute(generated, reference)
            rows.append(
                {
                    "images": images,
                    "ema": label,
                    "solver": candidate.solver.name,
                    "nfe": nfe,
                    "guidance": candidate.guidance.describe(),
                    "metric": metric.label(evaluation.samples),
                    "features": metric.features.name,
                    "samples": evaluation.samples,
                    "value": _number(measurement.value),
                    "error": _number(measurement.error),
                    "features_hash": metric.features.identity(),
                    "reference_hash": dataset.hash,
                    "quantisation": QUANTISATION,
                }
            )
    shown = np.concatenate(previews)[: evaluation.previews] if previews else np.zeros((0, *setting.shape), np.uint8)
    return rows, shown


@lru_cache(maxsize=8)
def _extractor(features: Features, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The features' network, loaded once a process."""
    return features.build(device)


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


_references: dict[str, NDArray[np.float64]] = {}


def reference_features(
    features: Features, dataset: Dataset, cache: Path, device: torch.device, pause: Pause = go_on
) -> NDArray[np.float64]:
    """(M, D) features of the reference images, kept on disk under the hashes of both."""
    key = digest([features.identity(), dataset.hash])
    if key in _references:
        return _references[key]
    file = cache / "features" / f"{key}.npz"
    if not file.is_file():
        extract, found = _extractor(features, device), []
        with torch.inference_mode():
            for part in torch.split(torch.from_numpy(dataset.reference_images), 250):
                pause()
                found.append(extract(part.to(device)).double().cpu().numpy())
        content = io.BytesIO()
        np.savez(content, features=np.concatenate(found))
        write_atomic(file, content.getvalue())
    with np.load(file, allow_pickle=False) as held:
        _references[key] = held["features"]
    return _references[key]
