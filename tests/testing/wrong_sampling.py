"""Solvers and guidances that are wrong; `fails` says which checks have to tell."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn

from ablate.api import (
    Choice,
    DenoisedGuidance,
    Guidance,
    Sibling,
    Solver,
    State,
    TrainedGuidance,
    WeakerGuidance,
)


class Miscounting(Solver):
    """Counts a call too many, stops before the image, draws from the global generator and does not clip."""

    name = "miscounting"
    fails: ClassVar = (
        "counts_its_calls",
        "goes_from_noise_to_the_image",
        "finds_a_known_distribution",
        "is_decided_by_its_generator",
        "clips_if_told_to",
    )

    def nfe(self):
        return self.steps + 1

    def sample(self, denoise, x, schedule, generator):
        for nfe, (now, then) in enumerate(self.intervals(schedule), 1):
            denoised = denoise(x, now.t)
            x = denoised.x0 + 0.1 * torch.randn_like(x)
            yield State(x, denoised.x0, max(then.t, 0.01), nfe)


class Overbearing(Guidance):
    """Doubles what all classes agree on, drops every label, and has one name for all scales."""

    name = "overbearing"
    scale: Annotated[float, Field(ge=0), Choice(1.0, 2.0)] = 2.0
    fails: ClassVar = (
        "asks_for_a_share_of_labels",
        "names_itself",
        "leaves_alone_what_the_class_does_not_change",
        "means_the_same_for_every_target",
    )

    def drop_rate(self):
        return 1.0

    def predict(self, predict, x, labels, null, level):
        return (1 + self.scale) * predict(x, labels).float()

    def describe(self):
        return "overbearing"


class Lopsided(TrainedGuidance):
    """Moves the image and not the noise, and trains nothing."""

    name = "lopsided"
    fails: ClassVar = ("trains_its_companion", "moves_image_and_noise_together")

    def drop_rate(self):
        return 0.0

    def predict(self, predict, x, labels, null, level):
        return predict(x, labels).float()

    def describe(self):
        return "lopsided"

    def companion(self, setting):
        return MetricEvaluator()

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def loss(self, output, labels):
        return output.mean(1)

    def shift(self, judge, denoised, x, labels, level):
        return denoised._replace(x0=denoised.x0 + judge(x).mean())


class MetricEvaluator(nn.Module):
    """A layer that is not used."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(1, 4), nn.Linear(1, 4)

    def forward(self, x, noise):
        return self.used(noise[:, None]) + x.mean((1, 2, 3))[:, None]


class Huddling(Guidance):
    """RandomStreams images together, in bfloat16, and needs labels without saying so."""

    name = "huddling"
    fails: ClassVar = ("keeps_shape_and_batch", "works_without_labels")

    def drop_rate(self):
        return 0.0

    def predict(self, predict, x, labels, null, level):
        y = predict(x, labels + 0)
        return (y - y.mean(0)).bfloat16()

    def describe(self):
        return "huddling"


class Forgetting(Guidance):
    """Takes the class out of a record of conditions, and leaves the rest."""

    name = "forgetting"
    fails: ClassVar = ("guides_by_conditions",)

    def requires(self):
        return {"null_class": "it compares with it", "conditions": "it guides towards them"}

    def drop_rate(self):
        return 0.1

    def predict(self, predict, x, labels, null, level):
        given = predict(x, labels).float()
        none = predict(x, torch.full_like(labels, null) if isinstance(labels, torch.Tensor) else labels).float()
        return none + 2 * (given - none)

    def describe(self):
        return "forgetting"


class Tearing(DenoisedGuidance):
    """Moves the image without its noise, and more with every batch."""

    name = "tearing"
    _calls: int = 0
    fails: ClassVar = ("keeps_shape_and_batch", "keeps_image_and_noise_together")

    def drop_rate(self):
        return 0.0

    def begin(self):
        def guide(ask, x, labels, null, level):
            self._calls += 1
            own = ask.own(x, labels)
            return own._replace(x0=own.x0 * (1 + self._calls))

        return guide

    def describe(self):
        return "tearing"


class Twinned(WeakerGuidance):
    """Its sibling is as large as the network."""

    name = "twinned"
    fails: ClassVar = ("trains_a_smaller_sibling",)

    def drop_rate(self):
        return 0.0

    def begin(self):
        return lambda ask, x, labels, null, level: ask.own(x, labels)

    def sibling(self, backbone, setting):
        return Sibling(backbone)

    def weaken(self, network):
        return network

    def describe(self):
        return "twinned"


class Crippling(WeakerGuidance):
    """Leaves of the network what does not give an image."""

    name = "crippling"
    fails: ClassVar = ("weakens_a_copy_of_the_network",)

    def drop_rate(self):
        return 0.0

    def begin(self):
        return lambda ask, x, labels, null, level: ask.own(x, labels)

    def weaken(self, network):
        network.forward = lambda x, noise, labels: x.mean((2, 3))
        return network

    def describe(self):
        return "crippling"
