"""Data, features, metrics and designs that are wrong; `fails` says which checks have to tell."""

import math
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import WithJsonSchema

from ablate.api import (
    Data,
    Dataset,
    Design,
    Features,
    InputError,
    InputSpec,
    Measurement,
    Metric,
    TrainingMetric,
    Vectors,
)


class Leaky(Data):
    """Trains on its reference, in another order each time, labels out of range, another shape than it says."""

    name = "leaky"
    fails: ClassVar = (
        "is_what_its_setting_says",
        "learns_what_it_says",
        "is_labelled_as_it_says",
        "keeps_its_parts_apart",
        "loads_the_same_again",
    )

    def provides(self):
        return frozenset({"labels"})

    def setting(self):
        return InputSpec((1, 8, 8), 2)

    def load(self, cache):
        images = np.random.default_rng().integers(0, 256, (20, 1, 6, 6), dtype=np.uint8)
        labels = np.arange(20)
        return Dataset(images, labels, images[:5], labels[:5], 2, str(images.sum()))


class Blind(Features):
    """The mean over the batch, in float64; its weights have another hash each time."""

    name = "blind"
    counter: ClassVar = [0]
    fails: ClassVar = ("gives_finite_vectors", "looks_at_each_image_alone", "names_its_weights")

    def build(self, device):
        return lambda images: images.double().mean(0).flatten()[:4].expand(len(images), 4)

    def weights_hash(self):
        self.counter[0] += 1
        return str(self.counter[0])


class Hydra(Features):
    """Says that it has another head, and more dimensions, than it gives."""

    name = "hydra"
    fails: ClassVar = ("has_the_heads_that_it_says", "has_the_patches_that_it_says")

    def heads(self):
        return {"pooled": 5, "logits": 10}

    def build(self, device):
        return lambda images: images.float().flatten(1)[:, :4]

    def weights_hash(self):
        return "0" * 64


class Dreaming(Features):
    """Sees something else each time."""

    name = "dreaming"
    fails: ClassVar = ("is_deterministic",)

    def build(self, device):
        return lambda images: torch.rand(len(images), 4)

    def weights_hash(self):
        return "0" * 64


class Undefined(Metric):
    """Not a number, under a name that was not earned."""

    name = "undefined"
    fails: ClassVar = ("is_finite", "is_named_after_its_features")

    def columns(self, samples, references=None):
        return {"undefined": "fid"}

    def compute(self, generated, reference):
        return Measurement(math.nan)


class Indifferent(Metric):
    """Better with noise, and by the order of the images."""

    name = "indifferent"
    fails: ClassVar = ("is_deterministic", "grows_worse_with_noise", "looks_at_the_reference_as_it_says")

    def compute(self, generated, reference):
        return Measurement(float(generated[0, 0] - generated.std()))


class Last(Vectors):
    """Forgets all batches but the last."""

    def add(self, vectors):
        self._parts = [vectors]


class Forgetful(Metric):
    """The distance of the means, of the last batch alone."""

    name = "forgetful"
    collects: ClassVar = Last
    fails: ClassVar = ("takes_batches",)

    def compute(self, generated, reference):
        apart = np.linalg.norm(generated.mean(0) - reference.mean(0))
        return Measurement(float(apart + abs(generated.std() - reference.std())))


class Trusting(TrainingMetric):
    """Finds copies authentic."""

    name = "trusting"
    fails: ClassVar = ("tells_copies_of_what_was_trained_on",)

    def compare(self, generated, reference, training):
        nearest = np.linalg.norm(generated[:, None] - training[None], axis=2).min(1)
        return Measurement(float(nearest.mean() + np.linalg.norm(generated.mean(0) - reference.mean(0))))


class Repeating(Design):
    """The same candidate twice, a choice that is none, and a count that is wrong."""

    name = "repeating"
    fails: ClassVar = ("proposes_what_there_is", "proposes_each_once")

    def proposals(self, dimensions):
        return [{"no.such.path": 1}, {"no.such.path": 1}]

    def candidates(self, dimensions):
        return 5

    def sampler(self, seed):
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)


class Faithless(Design):
    """Takes candidates, and runs the first of them alone."""

    name = "faithless"
    fails: ClassVar = ("takes_the_candidates_it_is_given",)
    takes_candidates: ClassVar = "those"
    those: Annotated[tuple[Any, ...], WithJsonSchema({"type": "array"})] = ()

    def proposals(self, dimensions):
        return [{d.path: d.baseline for d in dimensions}, *self.those[:1]]

    def candidates(self, dimensions):
        return 1 + len(self.those[:1])

    def sampler(self, seed):
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)


class Restless(Design):
    """Asks for something else each time, whatever its seed, and does not say of what range it cannot make a list."""

    name = "restless"
    fails: ClassVar = ("is_decided_by_its_seed", "takes_or_refuses_a_range")

    def proposals(self, dimensions):
        if any(not d.choices for d in dimensions):
            raise InputError("no")

    def candidates(self, dimensions):
        return 5

    def sampler(self, seed):
        import optuna

        return optuna.samplers.RandomSampler()
