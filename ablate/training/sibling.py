"""Training of the smaller network that guidance goes away from (autoguidance), beside the main one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ablate.training.checkpoint import Checkpoint
from ablate.training.companion import recent

if TYPE_CHECKING:
    from torch import nn

    from ablate.kinds.conditions import Labels
    from ablate.kinds.ema import Weights
    from ablate.kinds.noised import Noised
    from ablate.training.learner import Learner

RECENT = "recent_loss"


class SiblingLearner:
    """A learner of the sibling, that trains on the main network's batches, until a share of the training is done.

    All but the network's size is as in the main training: objective, optimizer, averages, number format. Its initial
    weights are its own.
    """

    def __init__(self, learner: Learner, until: float) -> None:
        self.learner = learner
        self.until = until
        self.recent_loss = torch.full((), torch.nan, device=learner.device)  # a running mean over about 100 steps

    @property
    def network(self) -> nn.Module:
        """The sibling as it is now."""
        return self.learner.network

    def averaged(self) -> tuple[nn.Module, Weights]:
        """Return the sibling, and its averaged weights, with which it guides."""
        return self.network, next(iter(self.learner.average.weights().values()))

    def step(self, noised: Noised, labels: Labels, budget: float) -> Tensor:
        """Take one step on a batch, unless its training is over; return its loss, then the last one."""
        if self.learner.images_seen < self.until * budget:
            self.network.train()
            self.learner.horizon = budget
            loss = self.learner.learn(noised, labels).loss
            self.recent_loss = recent(self.recent_loss, loss)
            return loss
        return self.recent_loss

    def state(self) -> Checkpoint:
        """Return everything that decides its steps to come."""
        state = self.learner.state({})
        return Checkpoint(state.images, {**state.tensors, RECENT: self.recent_loss}, state.facts)

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.learner.load(Checkpoint(0, {n: t for n, t in tensors.items() if n != RECENT}, facts))
        self.recent_loss = tensors[RECENT].to(self.recent_loss.device)
