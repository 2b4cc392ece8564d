"""Optimizers and averages of several trainings as one, over the stack in which the weights of their networks lie.

Whose step treats each number by itself says "stackable" in `provides()`. Neighbours in a pack that are alike, such as
the seeds of one candidate, then take one step over the stack; all others take their own. Moments and averages of one
training are views of its part, so a checkpoint, and whoever goes on alone, need not know.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ablate.training.learner import Learner

STACKABLE = "stackable"  # capability of an optimizer or an average that treats each number by itself
COUNT = "step"  # torch's name of the number of steps in an optimizer's state

Names = list[list[str]]  # of the parameters of an optimizer, by group


class StackedOptimizers:
    """The steps of a pack's optimizers.

    stack: {name: (members, …)}, of which each network's parameters are views; None: each takes its own step.
    """

    def __init__(self, learners: Sequence[Learner], stack: Mapping[str, Tensor] | None) -> None:
        self._learners = list(learners)
        self._runs: list[_Run] = []
        for first, end in neighbours(learners, _same_optimizer) if stack is not None else ():
            parts = {name: whole[first:end] for name, whole in (stack or {}).items()}
            self._runs.append(_Run(learners[first:end], parts, first))

    def step(self, members: Collection[int], gradients: Mapping[str, Tensor]) -> dict[int, Exception]:
        """Take the step of these members; return what it raised, by member. gradients: stacked as the weights."""
        failed: dict[int, Exception] = {}
        together: set[int] = set()
        for run in list(self._runs):
            if not run.members <= set(members) or not run.fits(gradients):
                run.release()
                self._runs.remove(run)
                continue
            together |= run.members
            try:
                run.step(gradients)
            except Exception as error:  # noqa: BLE001 - it is theirs, and the others go on
                failed |= dict.fromkeys(run.members, error)
        for i in set(members) - together:
            try:
                self._learners[i].take()
            except Exception as error:  # noqa: BLE001 - it is this member's, and the others go on
                failed[i] = error
        return failed

    def release(self) -> None:
        """Give each member moments of its own again."""
        for run in self._runs:
            run.release()
        self._runs = []


class _Run:
    """Neighbours whose optimizers are alike, as one of torch's over their part of the stack."""

    def __init__(self, learners: Sequence[Learner], parts: Mapping[str, Tensor], first: int) -> None:
        self.members = set(range(first, first + len(learners)))
        self._first = first
        self._learners = list(learners)
        self._parts = {name: part.detach() for name, part in parts.items()}
        self._own = [dict(learner.network.named_parameters()) for learner in learners]
        leading = learners[0].optimizer
        names = _names(learners[0])
        assert names is not None
        self._optimizer = copy.copy(leading)
        self._optimizer.state = defaultdict(dict)
        self._optimizer.param_groups = [
            {**group, "params": [self._parts[name] for name in own]}
            for group, own in zip(leading.param_groups, names, strict=True)
        ]
        for name, part in self._parts.items():
            states = [learner.optimizer.state.get(own[name], {}) for learner, own in self._pairs()]
            for key, value in states[0].items():
                whole = value.clone() if _counts(key, value) else torch.stack([state[key] for state in states])
                self._optimizer.state[part][key] = whole
        self._linked: dict[tuple[str, str], int] = {}
        self._link()

    def fits(self, gradients: Mapping[str, Tensor]) -> bool:
        """Return whether the next step is one for all: one rate, and gradients for everybody."""
        groups = zip(*(learner.optimizer.param_groups for learner in self._learners), strict=True)
        if any(len({group["lr"] for group in same}) > 1 for same in groups):
            return False
        return all((own[name].grad is not None) == (name in gradients) for own in self._own for name in self._parts)

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take it, on the gradients that the members have."""
        for group, leading in zip(self._optimizer.param_groups, self._learners[0].optimizer.param_groups, strict=True):
            group["lr"] = leading["lr"]
        end = self._first + len(self._learners)
        for name, part in self._parts.items():
            if name not in gradients:
                continue
            part.grad = gradients[name][self._first : end]
            for own, place in zip(self._own, part.grad.unbind(), strict=True):
                mine = own[name].grad
                if mine is not None and mine.data_ptr() != place.data_ptr():  # a clip has put another one there
                    place.copy_(mine)
        try:
            self._optimizer.step()
        finally:
            for part in self._parts.values():
                part.grad = None
        self._link()

    def release(self) -> None:
        """Give each member moments of its own again."""
        for learner, own in self._pairs():
            for name in self._parts:
                state = learner.optimizer.state.get(own[name], {})
                state.update({key: value.clone() for key, value in state.items() if isinstance(value, Tensor)})

    def _pairs(self) -> list[tuple[Learner, dict[str, torch.nn.Parameter]]]:
        return list(zip(self._learners, self._own, strict=True))

    def _link(self) -> None:
        """Let each member's moments be its part of those of the stack; its number of steps is everybody's."""
        for name, part in self._parts.items():
            for key, value in self._optimizer.state.get(part, {}).items():
                if self._linked.get((name, key)) == id(value):
                    continue
                self._linked[name, key] = id(value)
                for i, (learner, own) in enumerate(self._pairs()):
                    learner.optimizer.state[own[name]][key] = value if _counts(key, value) else value[i]


class StackedAverages:
    """The averages of a pack's members. stack: as of `StackedOptimizers`."""

    def __init__(self, learners: Sequence[Learner], stack: Mapping[str, Tensor] | None) -> None:
        self._learners = list(learners)
        self._joint: dict[int, tuple[set[int], Any]] = {}  # {first member: (members, their average)}
        for first, end in neighbours(learners, _same_average) if stack is not None else ():
            parts = {name: whole[first:end].detach() for name, whole in (stack or {}).items()}
            average = learners[first].candidate.ema.build(parts)
            states = [learner.average.state() for learner in learners[first:end]]
            average.load({name: torch.stack([state[name] for state in states]) for name in states[0]})
            for name, whole in average.state().items():
                for state, own in zip(states, whole.unbind(), strict=True):
                    state[name].data = own
            self._joint[first] = set(range(first, end)), average

    def update(self, members: Collection[int]) -> dict[int, Exception]:
        """Update those of these members, whose steps are counted; return what that raised, by member."""
        failed: dict[int, Exception] = {}
        together: set[int] = set()
        for joint, average in self._joint.values():
            leading = self._learners[min(joint)]
            if joint <= set(members) and len({self._learners[i].images_seen for i in joint}) == 1:
                together |= joint
                try:
                    average.update(leading.images_seen, leading.candidate.batch)
                except Exception as error:  # noqa: BLE001 - it is theirs, and the others go on
                    failed |= dict.fromkeys(joint, error)
        for i in set(members) - together:  # in place, so that those of a stack stay there
            try:
                self._learners[i].update_average()
            except Exception as error:  # noqa: BLE001 - it is this member's, and the others go on
                failed[i] = error
        return failed

    def release(self) -> None:
        """Give each member averages of its own again."""
        for members, _ in self._joint.values():
            for i in members:
                for value in self._learners[i].average.state().values():
                    value.data = value.data.clone()
        self._joint = {}


def neighbours(learners: Sequence[Learner], alike: Callable[[Learner, Learner], bool]) -> list[tuple[int, int]]:
    """Return the longest runs of neighbours that are alike, (first, end) each; who is alone is in none."""
    runs: list[tuple[int, int]] = []
    first = 0
    for end in range(1, len(learners) + 1):
        if end == len(learners) or not alike(learners[first], learners[end]):
            runs += [(first, end)] if end - first > 1 else []
            first = end
    return runs


def _same_optimizer(one: Learner, other: Learner) -> bool:
    """Return whether two members take the same step, of numbers that differ: alike in all but weights and moments."""
    component = one.candidate.optimizer
    if component != other.candidate.optimizer or STACKABLE not in component.provides():
        return False
    if one.scaler.is_enabled() or type(one.optimizer) is not type(other.optimizer):
        return False  # a scale skips the step of one member alone
    names = _names(one)
    return names is not None and names == _names(other) and _progress(one) == _progress(other)


def _names(learner: Learner) -> Names | None:
    """Return what an optimizer trains; None where that is not the network's alone."""
    names = {id(p): name for name, p in learner.network.named_parameters()}
    groups = [[names.get(id(p)) for p in group["params"]] for group in learner.optimizer.param_groups]
    known = [[name for name in group if name is not None] for group in groups]
    return known if known == groups else None


def _progress(learner: Learner) -> dict[str, dict[str, object]]:
    """Return what an optimizer keeps for each parameter: numbers of steps, and which moments."""
    state = learner.optimizer.state
    return {
        name: {key: float(v) if _counts(key, v) else None for key, v in state[p].items()}
        for name, p in learner.network.named_parameters()
        if p in state
    }


def _counts(key: str, value: object) -> bool:
    return key == COUNT or not isinstance(value, Tensor)


def _same_average(one: Learner, other: Learner) -> bool:
    """Return whether the averages of two members are updated alike."""
    component = one.candidate.ema
    return (
        component == other.candidate.ema
        and STACKABLE in component.provides()
        and one.images_seen == other.images_seen
        and one.average.state().keys() == other.average.state().keys()
    )
