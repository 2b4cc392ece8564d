"""The conditions that samples are drawn for: those of the reference, picture by picture."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.kinds.condition import within
from ablate.kinds.conditions import CLASS, Conditions, Labels, Told, told_record, told_zeros
from ablate.kinds.data import Dataset
from ablate.runtime.randomness import mix
from ablate.spec.component import InputSpec


class DrawnFor:
    """Gives the conditions of samples, the same for every candidate of a seed and for any size of batches.

    A sample is drawn for all that the data tell of one picture of the reference, its class too. The pictures come in a
    random order, each once before any comes again.
    """

    def __init__(self, dataset: Dataset, samples: int, seed: int, device: torch.device) -> None:
        self._dataset = dataset
        self._samples = samples
        self._seed = seed
        self._device = device

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The picture of the reference for each sample, (samples,)."""
        total = len(self._dataset.reference_images)
        rounds = [
            np.random.Generator(np.random.PCG64(mix(self._seed, "conditions of samples", i))).permutation(total)
            for i in range(-(-self._samples // total))
        ]
        return np.concatenate(rounds)[: self._samples] if rounds else np.zeros(0, np.int64)

    def rows(self, first: int, count: int) -> Conditions:
        """Return what is told of the samples number first … first + count − 1."""
        index = self.order[first : first + count]
        x0, told = self._pictures(index), dict[str, Told]()
        for stored in self._dataset.conditions:
            name = stored.spec.name
            kept = None if stored.reference is None else self._tensor(stored.reference[index])
            told[name] = stored.condition.tell(kept, x0, within(name, lambda s: self._uniform(s, first, count)))
        if self._dataset.reference_labels is not None:
            told[CLASS] = Told(self._tensor(self._dataset.reference_labels[index]))
        return Conditions(told, (stored.spec.name for stored in self._dataset.conditions if stored.spec.held))

    def _pictures(self, index: NDArray[np.int64]) -> Tensor:
        """Return the pictures as the network would see them; where it sees latents, a tensor without numbers.

        What is told of a latent cannot be told of a picture: what reads it then fails instead of giving other numbers.
        """
        if self._dataset.encoding is not None:
            return torch.empty(len(index), *self._dataset.shape, device="meta")
        return self._tensor(self._dataset.reference_images[index]).float().div_(127.5).sub_(1)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.tensor(np.asarray(array), device=self._device)

    def _uniform(self, stream: str, first: int, count: int) -> Tensor:
        generator = np.random.Generator(np.random.PCG64(mix(self._seed, f"samples/{stream}", 0)))
        return self._tensor(generator.random(self._samples, dtype=np.float32)[first : first + count])


def with_own(labels: Labels, own: InputSpec, count: int, device: torch.device) -> Labels:
    """Return what is told of so many samples with zeros for what the candidate itself tells of training images.

    So samples are not augmented. own: its conditions that are told from the first evaluation on.
    """
    if not own.conditions:
        return labels
    told, zeros = told_record(labels), told_record(told_zeros(own, count, device))
    for spec in own.conditions:
        told = told.tell(spec.name, zeros[spec.name], spec.held)
    return told
