"""The state of a training as a checkpoint: whole tensors, which know nothing of devices, packs or shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ablate.training.checkpoint import Checkpoint, by_prefix, flatten_optimizer, restore_optimizer, with_prefix
from ablate.training.group import Order

if TYPE_CHECKING:
    from ablate.training.learner import Learner


def state_of(learner: Learner, facts: Mapping[str, Any]) -> Checkpoint:
    """Return a checkpoint: everything that decides the steps to come. For shards see `Placement.gather`."""
    moments, numbers = flatten_optimizer(learner.optimizer.state_dict())
    tensors = dict(with_prefix("network", learner.network.state_dict()))
    tensors |= with_prefix("average", learner.average.state())
    tensors |= with_prefix("optimizer", moments)
    own = {"steps": learner.steps_done, "optimizer": numbers, "scaler": learner.scaler.state_dict()}
    if learner.uncertainty is not None:
        tensors |= with_prefix("uncertainty", learner.uncertainty.state_dict())
    tensors |= with_prefix("objective", learner.terms.state_dict())  # nothing, where no term keeps anything
    tensors = dict(learner.placement.gather(tensors, Order.STATE))
    if learner.companion is not None:
        companion_tensors, own["companion"] = learner.companion.state()
        tensors |= with_prefix("companion", companion_tensors)
    if learner.sibling is not None:
        sibling = learner.sibling.state()
        tensors, own["sibling"] = tensors | with_prefix("sibling", sibling.tensors), sibling.facts
    return Checkpoint(learner.images_seen, tensors, {**facts, **own})


def load_into(learner: Learner, checkpoint: Checkpoint) -> None:
    """Let a learner resume from a checkpoint of the same candidate and seed."""
    parts, place = by_prefix(checkpoint.tensors), learner.placement.place
    fresh = learner.optimizer.state_dict()
    moments = restore_optimizer(fresh, parts["optimizer"], checkpoint.facts["optimizer"])
    learner.network.load_state_dict(place(parts["network"], learner.network.state_dict()))
    learner.average.load(place(parts["average"], learner.average.state()))
    learner.optimizer.load_state_dict(learner.placement.place_moments(moments, learner.optimizer))
    if learner.candidate.layout == "channels_last":
        _lay_out_as_parameters(learner.optimizer)
    if checkpoint.facts["scaler"]:
        learner.scaler.load_state_dict(checkpoint.facts["scaler"])
    if learner.uncertainty is not None:
        learner.uncertainty.load_state_dict(place(parts["uncertainty"], learner.uncertainty.state_dict()))
    learner.terms.load_state_dict(place(parts["objective"], learner.terms.state_dict()))
    if learner.companion is not None:
        learner.companion.load(parts["companion"], checkpoint.facts["companion"])
    if learner.sibling is not None:
        learner.sibling.load(parts["sibling"], checkpoint.facts["sibling"])
    learner.steps_done = checkpoint.facts["steps"]


def _lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Bring an optimizer's state, as it was loaded, into the order in memory that its parameters have.

    Fused kernels go through both in the order of memory.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
