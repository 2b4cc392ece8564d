"""Objectives, auxiliaries, couplings and augmentations that are wrong; `fails` says which checks have to tell."""

from typing import ClassVar

import torch
from torch import nn

from ablate.api import Augmentation, Augmented, Auxiliary, Coupling, Objective, TaughtObjective


class Error(nn.Module):
    """The squared error of the noise, or what its way makes of it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.spare = nn.Linear(2, 2) if way == "unused" else None
        self.calls = 0

    def forward(self, noised, labels, model):
        y = model.predict(noised.x, noised.level, labels)[:, : noised.x.shape[1]]
        error = (y - noised.noise).square().flatten(1).mean(1)
        if self.way == "summed":
            return error.sum()
        if self.way == "random":
            generator = torch.Generator()
            generator.seed()
            return error * torch.rand(len(error), generator=generator)
        if self.way == "coupled":
            return error / error.sum().detach()
        if self.way == "counting":
            self.calls += 1
            return error * (1 + self.calls)
        if self.way == "hurrying":
            return error * (1 + model.progress)
        if self.way == "reading":
            return error * float(error.mean())
        return error


class OneTerm(nn.Module):
    """The same as an objective."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.error = Error(way)

    def forward(self, noised, labels, model):
        return {"error": self.error(noised, labels, model)}


class WrongObjective(Objective):
    """An objective with a fault."""

    way: ClassVar[str]

    def build(self, host):
        return OneTerm(self.way)


class WrongAuxiliary(Auxiliary):
    """An auxiliary with the same fault."""

    way: ClassVar[str]

    def build(self, host):
        return Error(self.way)


class SummedObjective(WrongObjective):
    """One number a batch."""

    name = way = "summed"
    fails: ClassVar = ("gives_a_number_an_image",)


class UnusedObjective(WrongObjective):
    """Wants to train what it does not use."""

    name = way = "unused"
    fails: ClassVar = ("gives_a_number_an_image",)


class RandomObjective(WrongObjective):
    """Draws from nowhere."""

    name = way = "random"
    fails: ClassVar = ("is_repeatable",)


class CoupledObjective(WrongObjective):
    """Compares images, and does not say so."""

    name = way = "coupled"
    fails: ClassVar = ("couples_images_only_if_it_says_so",)


class CountingObjective(WrongObjective):
    """Keeps a number that no checkpoint has."""

    name = way = "counting"
    fails: ClassVar = ("goes_on_from_a_checkpoint",)


class HurryingObjective(WrongObjective):
    """Follows the progress of the training, and does not say so."""

    name = way = "hurrying"
    fails: ClassVar = ("does_the_same_until_it_says",)


class ReadingObjective(WrongObjective):
    """Reads a value, which the meta device does not have."""

    name = way = "reading"
    fails: ClassVar = ("can_be_counted",)


class CircularObjective(TaughtObjective):
    """Its teacher is one that it has taught."""

    name = "circular"
    fails: ClassVar = ("learns_from_its_teacher",)

    def teacher(self):
        return self

    def build(self, host):
        return OneTerm("right")


class DeafObjective(TaughtObjective):
    """Never asks its teacher."""

    name = "deaf"
    fails: ClassVar = ("learns_from_its_teacher",)

    def teacher(self):
        return None

    def build(self, host):
        return OneTerm("right")


class SummedAuxiliary(WrongAuxiliary):
    """One number a batch."""

    name = way = "summed"
    fails: ClassVar = ("gives_a_number_an_image",)


class RandomAuxiliary(WrongAuxiliary):
    """Draws from nowhere."""

    name = way = "random"
    fails: ClassVar = ("is_repeatable",)


class CoupledAuxiliary(WrongAuxiliary):
    """Compares images, and does not say so."""

    name = way = "coupled"
    fails: ClassVar = ("couples_images_only_if_it_says_so",)


class CountingAuxiliary(WrongAuxiliary):
    """Keeps a number that no checkpoint has."""

    name = way = "counting"
    fails: ClassVar = ("goes_on_from_a_checkpoint",)


class HurryingAuxiliary(WrongAuxiliary):
    """Follows the progress of the training, and does not say so."""

    name = way = "hurrying"
    fails: ClassVar = ("does_the_same_until_it_says",)


class ReadingAuxiliary(WrongAuxiliary):
    """Reads a value, which the meta device does not have."""

    name = way = "reading"
    fails: ClassVar = ("can_be_counted",)


class Twice(Coupling):
    """The first noise for every image."""

    name = "twice"
    fails: ClassVar = ("permutes_the_batch",)

    def order(self, x0, noise, labels):
        return torch.zeros(len(x0), dtype=torch.int64)


class Shuffled(Coupling):
    """Another order each time."""

    name = "shuffled"
    fails: ClassVar = ("is_decided_by_the_batch",)

    def order(self, x0, noise, labels):
        return torch.randperm(len(x0))


class Brighter(Augmentation):
    """Leaves the range, and tells of no change."""

    name = "brighter"
    fails: ClassVar = ("gives_images", "tells_what_it_mirrors")

    def apply(self, x0, uniform):
        return Augmented(x0 + uniform("light")[:, None, None, None])


class Averaging(Augmentation):
    """Moves images towards the rest of the batch."""

    name = "averaging"
    fails: ClassVar = ("draws_by_the_image",)

    def provides(self):
        return frozenset({"altered_pictures"})

    def apply(self, x0, uniform):
        return Augmented((x0 + x0.mean(0)) / 2)
