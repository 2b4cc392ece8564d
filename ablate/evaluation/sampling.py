"""Drawing of samples from a trained network: their classes, their initial noise, the solver, pixels as uint8."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate
from ablate.candidates.evaluation import Evaluation, SampleLabels
from ablate.evaluation.captured import CapturedSampling
from ablate.evaluation.decoding import decoder
from ablate.evaluation.drawn_for import DrawnFor, unaugmented
from ablate.evaluation.metric_evaluator import Pause, go_on
from ablate.kinds.autoencoder import Decoder
from ablate.kinds.conditions import Labels
from ablate.kinds.data import Dataset
from ablate.kinds.ema import Kept, Weights
from ablate.kinds.guides import WeakerGuidance
from ablate.kinds.process import Network, Process
from ablate.runtime.randomness import SampleGenerator, mix
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
    latents: what the network draws are latents, which `decode` makes pixels. weaker_weights: parameters of the weaker
    network that the guidance goes away from; None: the network's own. weaker_network: of which the weaker one is made;
    None: of the network itself. labels: how classes are drawn. dataset: whose reference has the conditions to draw for,
    where there are further ones. captured: replays the networks' evaluations; None: as the candidate says.
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
        weaker_weights: Weights | None = None,
        labels: SampleLabels = "balanced",
        dataset: Dataset | None = None,
        weaker_network: nn.Module | None = None,
        captured: CapturedSampling | None = None,
    ) -> None:
        if captured is None and candidate.capture != "none":
            captured = CapturedSampling(candidate, device)
        self.captured = captured
        self.solver = candidate.solver.settled(latents)  # pixels end at -1 and 1, latents do not
        self.decode = decode  # from what the network draws to pixels
        self.companion = None if companion is None else companion.eval()  # as it is at the end of training
        self.candidate = candidate.for_setting(setting)
        self.process = process
        self.setting = candidate.inputs(setting)
        self.dataset = dataset
        self.device = device
        self.seed = seed
        self.weaker_weights = weaker_weights
        self.weaker_network = weaker_network
        self.labels = labels
        self.class_counts = shares(None, setting.classes or 0) if class_counts is None else class_counts

    @torch.inference_mode()
    def batches(
        self, network: nn.Module, weights: Mapping[str, Tensor], samples: int, batch: int, pause: Pause = go_on
    ) -> Iterator[tuple[Tensor, int]]:
        """Yield batches of samples (B, C, H, W) uint8, and the network evaluations (NFE) that each took.

        Raises NotFiniteError where an image is not finite.
        """
        averaged = deepcopy(network).eval()
        averaged.load_state_dict(dict(weights), strict=False)  # an average holds parameters, not buffers
        own, weaker = self._network(averaged), self._weaker(averaged)
        solver, guidance, classes = self.solver, self.candidate.guidance, self.setting.classes
        drawn_for = self._drawn_for(samples)
        for first in range(0, samples, batch):
            count = min(batch, samples - first)
            labels = unaugmented(drawn_for(first, count), self.candidate, self.setting, count, self.device)
            denoise = self.process.denoiser(own, guidance, labels, classes or 0, self.companion, weaker)
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

    @property
    def of_the_reference(self) -> bool:
        """Whether samples are drawn for the conditions of the reference, as the data have further ones than a class."""
        return self.dataset is not None and bool(self.dataset.conditions)

    def _network(self, module: nn.Module) -> Network:
        """Return a module as the process calls it, in the candidate's precision."""

        def network(x: Tensor, c_noise: Tensor, labels: Labels, *second: Tensor) -> Tensor:
            with self.candidate.precision.forward(self.device):
                output: Tensor = module(x, c_noise, labels, *second)
            return output

        return network if self.captured is None else self.captured.over(network, module)

    def _weaker(self, averaged: nn.Module) -> Network | None:
        """Return the weaker network of the guidance, if it has one."""
        guidance = self.candidate.guidance
        if not isinstance(guidance, WeakerGuidance):
            return None
        copied = deepcopy(averaged if self.weaker_network is None else self.weaker_network)
        if self.weaker_weights is not None:
            copied.load_state_dict(dict(self.weaker_weights), strict=False)
        return self._network(guidance.weaken(copied).eval())

    def _drawn_for(self, samples: int) -> Callable[[int, int], Labels]:
        """Return what gives the labels, or the conditions, of the samples from a first one on, so many."""
        if self.of_the_reference:
            assert self.dataset is not None
            return DrawnFor(self.dataset, samples, self.seed, self.device).rows
        if self.setting.classes is None:
            return lambda first, count: None
        labels = torch.from_numpy(self._drawn_labels(samples)).to(self.device)
        return lambda first, count: labels[first : first + count]

    def _drawn_labels(self, samples: int) -> NDArray[np.int64]:
        if self.labels == "random":
            return random_labels(self.class_counts, samples, self.seed)
        return sample_labels(self.class_counts, samples)


def make_sampler(
    candidate: Candidate,
    process: Process,
    setting: InputSpec,
    dataset: Dataset,
    evaluation: Evaluation,
    seed: int,
    device: torch.device,
    companion: nn.Module | None,
    snapshots: Kept | None = None,
    images: int = 0,
    sibling: tuple[nn.Module, Weights] | None = None,
    captured: CapturedSampling | None = None,
) -> Sampler:
    """Make the sampler of a trained candidate: it decodes latents, and draws classes in the shares of the dataset.

    snapshots: of the training, after `images` images. sibling: the network that guidance has trained beside, and its
    weights. captured: see `Sampler`. Raises InputError where guidance needs a snapshot that is not there.
    """
    decode = decoder(evaluation.autoencoder, dataset.encoding, device)
    counts = None if setting.classes is None else shares(dataset.labels, setting.classes)
    latents = dataset.encoding is not None
    network, weights = (None, None) if sibling is None else sibling
    if sibling is None and isinstance(candidate.guidance, WeakerGuidance) and snapshots is not None:
        weights = candidate.guidance.weights(candidate.ema, snapshots, images)
    how = (decode, counts, latents, weights, evaluation.labels, dataset, network, captured)
    return Sampler(candidate, process, setting, seed, device, companion, *how)


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


def random_labels(counts: NDArray[np.int64], samples: int, seed: int) -> NDArray[np.int64]:
    """Draw the labels of the samples independently, each class with its share of the training images, (samples,).

    The same for all candidates of a seed; the first labels are the same however many are drawn.
    """
    generator = np.random.Generator(np.random.PCG64(mix(seed, "labels of samples", 0)))
    cumulated = np.cumsum(counts, dtype=np.float64)
    drawn = np.searchsorted(cumulated, generator.random(samples) * cumulated[-1], side="right")
    return np.asarray(drawn, dtype=np.int64)
