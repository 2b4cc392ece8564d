"""What samples are drawn for: conditions of the reference, picture by picture, and what an augmentation would tell."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.candidates.candidate import Candidate
from ablate.kinds.condition import within
from ablate.kinds.conditions import CLASS, Conditions, Labels, Told, told_record, told_zeros
from ablate.kinds.data import Dataset
from ablate.runtime.randomness import mix
from ablate.spec.component import InputSpec


def unaugmented(labels: Labels, candidate: Candidate, setting: InputSpec, count: int, device: torch.device) -> Labels:
    """Return the same with zeros of what the augmentation tells in training: samples are not augmented."""
    specs = candidate.augmentation.conditions(setting)
    zeros = told_record(told_zeros(InputSpec(setting.shape, None, specs), count, device))
    for spec in specs:
        labels = told_record(labels).tell(spec.name, zeros[spec.name], spec.held)
    return labels


class DrawnFor:
    """Gives the conditions of samples, the same for every candidate of a seed and for any size of batches.

    A sample is drawn for all that is known of one picture of the reference. The pictures come in a random order, each
    once before any comes again.
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

    def described(self, count: int) -> list[dict[str, Any]]:
        """Return of each of the first samples the picture's number in the reference, its class, and its columns."""
        of: dict[str, NDArray[Any]] = {"reference": np.arange(len(self._dataset.reference_images))}
        if self._dataset.reference_labels is not None:
            of[CLASS] = self._dataset.reference_labels
        of |= self._dataset.reference_columns
        return [{name: _plain(values[i]) for name, values in of.items()} for i in self.order[:count]]

    def rows(self, first: int, count: int) -> Conditions:
        """Return what is told of the samples number first … first + count − 1."""
        index = self.order[first : first + count]
        x0, told = self._pictures(index), dict[str, Told]()
        held = {stored.spec.name for stored in self._dataset.conditions if stored.spec.held}
        for stored in self._dataset.conditions:
            name = stored.spec.name
            kept = None if stored.reference is None else self._tensor(stored.reference[index])
            told[name] = stored.condition.tell(kept, x0, within(name, lambda s: self._uniform(s, first, count)))
        if self._dataset.reference_labels is not None:
            told[CLASS] = Told(self._tensor(self._dataset.reference_labels[index]))
        return Conditions(told, held)

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


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; a number that is missing is None."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
