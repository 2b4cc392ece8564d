"""Evaluation of a trained network: draw samples with the averaged weights (EMA), and compute the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate
from ablate.candidates.trial import Evaluation
from ablate.evaluation.decoding import decoder, measured_spec
from ablate.evaluation.labels import sample_labels, shares
from ablate.evaluation.metric_evaluator import MetricEvaluator, Pause, go_on
from ablate.evaluation.solver_bias import DEVIATION, deviation_error
from ablate.kinds.autoencoder import Decoder
from ablate.kinds.data import Dataset
from ablate.kinds.process import Process
from ablate.runtime.randomness import SampleGenerator
from ablate.spec.component import InputSpec

QUANTISATION = "floor(x*127.5+128)"  # from [-1, 1] to uint8: part of a measurement's identity


class NotFiniteError(ArithmeticError):
    """Samples hold NaN or infinity: the candidate diverged, though its loss was finite."""


def quantise(x: Tensor) -> Tensor:
    """Quantise images from [-1, 1] to uint8: floor(x·127.5 + 128), clipped."""
    return (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)


class Sampler:
    """Draws samples from a network, with common random numbers: initial noise and labels are those of the seed.

    class_counts: (classes,) training images of each class, in whose shares labels are drawn; None: evenly.
    latents: what the network draws are latents, which `decode` makes pixels.
    """

    def __init__(
        self,
        candidate: Candidate,
        process: Process,
        setting: InputSpec,
        seed: int,
        device: torch.device,
        companion: nn.Module | None = None,
        decode: Decoder = lambda x: x,
        class_counts: NDArray[np.int64] | None = None,
        latents: bool = False,
    ) -> None:
        self.solver = candidate.solver.settled(latents)  # pixels end at -1 and 1, latents do not
        self.decode = decode  # from what the network draws to pixels
        self.companion = None if companion is None else companion.eval()  # as it is at the end of training
        self.candidate = candidate
        self.process = process
        self.setting = setting
        self.device = device
        self.seed = seed
        self.class_counts = shares(None, setting.classes or 0) if class_counts is None else class_counts

    @torch.inference_mode()
    def batches(
        self, network: nn.Module, weights: Mapping[str, Tensor], samples: int, batch: int, pause: Pause = go_on
    ) -> Iterator[tuple[Tensor, int]]:
        """Yield batches of samples (B, C, H, W) uint8, and the network evaluations (NFE) that each took.

        Raises NotFiniteError where an image is not finite.
        """

        def predict(x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
            with self.candidate.precision.forward(self.device):
                output: Tensor = averaged(x, c_noise, labels)
            return output

        averaged = deepcopy(network).eval()
        averaged.load_state_dict(dict(weights), strict=False)  # an average holds parameters, not buffers
        solver, guidance, classes = self.solver, self.candidate.guidance, self.setting.classes
        drawn_for = None
        if classes is not None:
            drawn_for = torch.from_numpy(sample_labels(self.class_counts, samples)).to(self.device)
        for first in range(0, samples, batch):
            count = min(batch, samples - first)
            labels = None if drawn_for is None else drawn_for[first : first + count]
            denoise = self.process.denoiser(predict, guidance, labels, classes or 0, self.companion)
            shape = (count, *self.setting.shape)
            generator = SampleGenerator.of(self.seed, first, shape, self.device)
            x = self.process.prior(generator.normal(shape, torch.float32), solver.start(self.candidate.schedule).t)
            nfe = 0
            for state in solver.sample(denoise, x, self.candidate.schedule, generator):
                x, nfe = state.x, state.nfe
                pause()
            if not bool(torch.isfinite(x).all()):
                raise NotFiniteError(f"samples {first} to {first + count - 1} are not all finite")
            yield quantise(self.decode(x)), nfe


def make_sampler(
    candidate: Candidate,
    process: Process,
    setting: InputSpec,
    dataset: Dataset,
    evaluation: Evaluation,
    seed: int,
    device: torch.device,
    companion: nn.Module | None,
) -> Sampler:
    """Make the sampler of a trained candidate: it decodes latents, and draws classes in the shares of the dataset."""
    decode = decoder(evaluation.autoencoder, dataset.encoding, device)
    counts = None if setting.classes is None else shares(dataset.labels, setting.classes)
    latents = dataset.encoding is not None
    return Sampler(candidate, process, setting, seed, device, companion, decode, counts, latents)


def measure(
    candidate: Candidate,
    process: Process,
    setting: InputSpec,
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
    """Sample and compute all metrics; return rows of the metrics table, and samples of the first average as previews.

    `pause` is called between batches; it may raise to stop. `companion` is the network of a guidance
    that has trained one.
    """
    autoencoder = evaluation.autoencoder
    sampler = make_sampler(candidate, process, setting, dataset, evaluation, seed, device, companion)
    evaluator = MetricEvaluator(evaluation.metrics, dataset, cache, device, pause, evaluation.reference)
    rows: list[dict[str, Any]] = []
    previews: list[NDArray[np.uint8]] = []
    error = _solver_error(sampler, candidate, process, dataset.encoding is not None)
    samples = evaluation.drawn
    for label, weights in averages.items():
        evaluator.begin()
        nfe = 0
        for pixels, calls in sampler.batches(network, weights, samples, evaluation.batch, pause):
            nfe = calls
            evaluator.see(pixels)
            if not rows and sum(map(len, previews)) < evaluation.previews:
                previews.append(pixels.cpu().numpy())
        identity = {
            "images": images,
            "ema": label,
            "solver": sampler.solver.name,
            "solver_settings": sampler.solver.settings(),
            "solver_error": error,
            "nfe": nfe,
            "guidance": candidate.guidance.describe(),
            "quantisation": QUANTISATION if autoencoder is None else autoencoder.describe(QUANTISATION),
        }
        rows += [{**identity, **value} for value in evaluator.values(samples)]
    if not previews:
        return rows, np.zeros((0, *measured_spec(autoencoder, setting).shape), np.uint8)
    return rows, np.concatenate(previews)[: evaluation.previews]


def _solver_error(sampler: Sampler, candidate: Candidate, process: Process, latents: bool) -> float | None:
    """Return the solver's own relative error of the standard deviation of Gaussian samples; None where not known.

    Of the deviation that `ablate plan` warns by: the candidate's `sigma_data`, else that of latents, or 0.5 of pixels.
    """
    deviation = candidate.sigma_data or (process.sigma_data if latents else DEVIATION)
    try:
        return deviation_error(sampler.solver, candidate.schedule, deviation)
    except Exception:  # noqa: BLE001 - a plugin's own code: its samples tell what is wrong with it
        return None
