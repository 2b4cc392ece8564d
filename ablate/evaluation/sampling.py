"""Drawing of samples from a trained network: their classes, their initial noise, the solver, pixels as uint8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate
from ablate.candidates.evaluation import Evaluation
from ablate.evaluation.decoding import decoder
from ablate.evaluation.metric_evaluator import Pause, go_on
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

        def predict(x: Tensor, c_noise: Tensor, labels: Tensor | None, *second: Tensor) -> Tensor:
            with self.candidate.precision.forward(self.device):
                output: Tensor = averaged(x, c_noise, labels, *second)
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


def shares(labels: NDArray[np.int64] | None, classes: int) -> NDArray[np.int64]:
    """Count the training images of each class, (classes,); one each where images are not labelled."""
    return np.ones(classes, np.int64) if labels is None else np.bincount(labels, minlength=classes)[:classes]


def sample_labels(counts: NDArray[np.int64], samples: int) -> NDArray[np.int64]:
    """Return the labels of the samples, (samples,): each class within one sample of its share, 0 without images.

    counts: (classes,) training images of each class. Fewer samples than classes are spread evenly over the
    distribution. Classes take turns, in order, so that any first part of the samples is spread as well.
    """
    total, cumulated = int(counts.sum()), np.cumsum(counts, dtype=np.int64)
    middles = (2 * np.arange(samples, dtype=np.int64) + 1) * total  # of `samples` equal parts, times 2·samples
    drawn = np.bincount(np.searchsorted(cumulated * 2 * samples, middles, side="right"), minlength=len(counts))
    most = int(drawn.max(initial=1))
    labels = np.repeat(np.arange(len(counts)), drawn)
    place = np.arange(samples) - np.repeat(np.cumsum(drawn) - drawn, drawn)  # among the samples of the same class
    turn = (2 * place + 1) * most // (2 * drawn[labels])
    return labels[np.lexsort([labels, turn])]
