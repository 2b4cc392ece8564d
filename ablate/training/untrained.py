"""What proxies are given: a candidate before its training, with the first batch that it would see."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ablate.candidates.candidate import Candidate, format_component
from ablate.kinds.proxy import Proxy, Untrained
from ablate.kinds.teacher import TaughtObjective
from ablate.runtime.isolation import watched
from ablate.runtime.randomness import seed_everything
from ablate.spec.component import InputSpec
from ablate.training.building import new_network
from ablate.training.images import Images
from ablate.training.learner import Learner

TAIL = 10  # a loss is the mean of the last so-manieth part of the steps


class Beginning(Untrained):
    """The training of one candidate and seed, before its first step."""

    def __init__(self, learner: Learner, horizon: float) -> None:
        self._learner = learner
        self._horizon = horizon
        self.network = learner.network
        self._noised, self._labels = learner.batch()
        self.x = self._noised.x

    def predict(self, x: Tensor) -> Tensor:
        """Evaluate the network with the batch's noise levels and labels, in mixed precision as the candidate says."""
        learner = self._learner
        return learner.process.predict(learner.predict, x, self._noised.level, self._labels)

    def loss(self) -> Tensor:
        """Compute the mean loss of the batch, with its auxiliary terms."""
        seed_everything(self._learner.seed, "dropout", self._learner.steps_done)
        return self._learner.loss(self._noised, self._labels).mean()

    def train(self, steps: int) -> float:
        """Take steps at the rates of the whole training."""
        losses = torch.stack([self._learner.step(self._horizon).loss for _ in range(steps)])
        return float(losses[-max(1, steps // TAIL) :].mean())


def measure(
    candidate: Candidate,
    setting: InputSpec,
    images: Images,
    proxies: Sequence[Proxy],
    seed: int,
    device: torch.device,
    horizon: float = math.inf,
) -> Mapping[str, float]:
    """Return {name: number} of proxies of a candidate, each of a network that no other one has touched.

    NaN where one is not defined. horizon: images of the whole training, which the learning rate follows. An objective
    that learns from a teacher is given an untrained one.
    """
    numbers = {}
    for proxy in proxies:
        weights = None
        if isinstance(candidate.objective, TaughtObjective):
            weights = new_network(candidate, candidate.inputs(setting), seed, device).state_dict()
        learner = Learner(candidate, setting, images, seed, device, None, weights)
        learner.network.train()
        learner.prepare(lambda: None)
        with watched(f"{format_component(proxy)}, while it measures,"):
            seed_everything(seed, f"proxy/{proxy.name}", 0)
            numbers[proxy.name] = float(proxy.measure(Beginning(learner, horizon)))
    return numbers
