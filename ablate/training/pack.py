"""Several trainings of one network shape as one: each draws, is judged and steps by itself; the passes are shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ablate.kinds.clip import Norms
from ablate.kinds.conditions import Labels
from ablate.kinds.noised import Noised
from ablate.kinds.probe import StepObserver
from ablate.runtime.memory import out_of_memory
from ablate.runtime.randomness import seed_everything
from ablate.training.learner import Learner
from ablate.training.loop import Wanted
from ablate.training.packed_pass import PackedPass, PackedPassError, apart
from ablate.training.stacked import StackedAverages, StackedOptimizers
from ablate.training.steps import Learned, TrainingStep

Inputs = tuple[Tensor | None, ...]


class MemberError(Exception):
    """Raised where what is one member's own fails; the step was not taken by anybody. `member` is its number."""

    def __init__(self, member: int, error: Exception) -> None:
        super().__init__(str(error))
        self.member = member
        self.error = error


class _Asked(Exception):  # noqa: N818 - the way out of a loss that asks for the network's output
    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs


class _Batch(NamedTuple):
    noised: Noised
    labels: Labels
    parts: list[tuple[Noised, Labels]]


class Pack:
    """Learners whose networks have one shape, and that take their steps together.

    A member's own are its batch, its loss and the gradient of that by the network's output, clipping, and what guidance
    trains beside. Shared are the forward and the backward pass of the networks, and the steps of optimizers and
    averages that are alike. Numbers are those of the learner alone up to the order of sums. stacked: whether such
    optimizers and averages step as one; else each by itself.
    """

    def __init__(self, learners: Sequence[Learner], stacked: bool = True) -> None:
        self.learners = list(learners)
        self._pass = PackedPass([learner.network for learner in self.learners])
        stack = self._pass.parameters if stacked else None
        self._optimizers = StackedOptimizers(self.learners, stack)
        self._averages = StackedAverages(self.learners, stack)

    def step(self, wanted: Sequence[Wanted]) -> list[TrainingStep | Exception]:
        """Take one step of each member; return it, or the exception with which its own part of it ended.

        Raises MemberError, PackedPassError, or what a lack of memory raises, where no member has taken the step.
        """
        try:
            batches, losses, terms = self._gradients(wanted)
        except Exception:
            self._pass.forget()
            for learner in self.learners:
                learner.optimizer.zero_grad(set_to_none=True)
            raise
        self._pass.hand_over()
        learned = self._descend(wanted, losses, terms)
        steps: list[TrainingStep | Exception] = []
        for batch, learner, own in zip(batches, self.learners, learned, strict=True):
            try:
                steps.append(own if isinstance(own, Exception) else learner.completed(*batch[:2], own))
            except Exception as error:  # noqa: BLE001 - it is this member's, and the others go on
                steps.append(error)
        return steps

    def _descend(
        self, wanted: Sequence[Wanted], losses: Sequence[Tensor], terms: Sequence[dict[str, Tensor]]
    ) -> list[Learned | Exception]:
        """Take the rest of a step whose gradients are there, as `Learner.finish_step` does."""
        ended: dict[int, Exception] = {}
        rates: list[float] = [0.0] * len(self.learners)
        norms: dict[int, Norms] = {}

        def each(work: Callable[[int, Learner, Sequence[StepObserver]], None]) -> None:
            for i, (learner, (_, observers)) in enumerate(zip(self.learners, wanted, strict=True)):
                if i not in ended:
                    try:
                        work(i, learner, observers)
                    except Exception as error:  # noqa: BLE001 - it is this member's, and the others go on
                        ended[i] = error

        def bound(i: int, learner: Learner, observers: Sequence[StepObserver]) -> None:
            rates[i] = learner.set_rate()
            norms[i] = learner.bound(observers)

        def settle(i: int, learner: Learner, observers: Sequence[StepObserver]) -> None:
            learner.settle_step(observers)
            learner.steps_done += 1

        each(bound)
        ended |= self._optimizers.step(norms.keys(), self._pass.gradients)
        self._pass.gradients = {}
        each(settle)
        ended |= self._averages.update([i for i in norms if i not in ended])
        return [
            ended[i] if i in ended else Learned(losses[i], norms[i], rates[i], terms[i])
            for i in range(len(self.learners))
        ]

    def _gradients(self, wanted: Sequence[Wanted]) -> tuple[list[_Batch], list[Tensor], list[dict[str, Tensor]]]:
        """Draw the batches and accumulate their gradients; return them, their mean losses, and the means of terms."""
        batches = [self._batch(i, horizon) for i, (horizon, _) in enumerate(wanted)]
        losses = [torch.zeros((), device=learner.device) for learner in self.learners]
        terms: list[dict[str, Tensor]] = [{} for _ in self.learners]
        for part in zip(*(batch.parts for batch in batches), strict=True):
            inputs = [self._inputs(i, own) for i, own in enumerate(part)]
            with self.learners[0].candidate.precision.forward(self.learners[0].device):
                output = self._pass(inputs)
            gradients = []
            for i, (own, out) in enumerate(zip(part, output.detach().unbind(), strict=True)):
                given = out.requires_grad_()
                losses[i] += self._backward(i, own, given, terms[i])
                gradients.append(torch.zeros_like(given) if given.grad is None else given.grad)
            self._pass.backward(output, gradients)
        return batches, losses, terms

    def _batch(self, i: int, horizon: float) -> _Batch:
        learner = self.learners[i]
        try:
            learner.horizon = horizon
            noised, labels = learner.batch()
            return _Batch(noised, labels, list(learner.parts(noised, labels)))
        except Exception as error:
            raise _of_member(i, error) from error

    def _inputs(self, i: int, part: tuple[Noised, Labels]) -> Inputs:
        """Return what a member's loss gives its network: it is computed as far as that."""

        def ask(*inputs: Tensor | None) -> Tensor:
            raise _Asked(inputs)

        learner = self.learners[i]
        try:
            seed_everything(learner.seed, "dropout", learner.steps_done)
            with torch.no_grad():
                learner.backward(*part, predict=ask)
        except _Asked as asked:
            if any(not isinstance(value, Tensor | None) for value in asked.inputs):
                raise PackedPassError("its network is told more than a class") from None
            return asked.inputs
        except Exception as error:
            raise _of_member(i, error) from error
        raise PackedPassError("its objective asks the network nothing")

    def _backward(self, i: int, part: tuple[Noised, Labels], given: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """Add the gradients of a member's loss by its network's output, and by all that is beside the network."""
        asked = 0

        def answer(*inputs: Tensor | None) -> Tensor:
            nonlocal asked
            asked += 1
            return given

        learner = self.learners[i]
        try:
            seed_everything(learner.seed, "dropout", learner.steps_done)
            loss = learner.backward(*part, term_means=terms, predict=answer)
        except Exception as error:
            raise _of_member(i, error) from error
        if asked != 1:
            raise PackedPassError("its objective takes more than one pass of the network")
        return loss

    def dissolve(self) -> None:
        """Give each network, its moments and its averages a place of their own again."""
        self._optimizers.release()
        self._averages.release()
        for learner in self.learners:
            apart({**dict(learner.network.named_parameters()), **dict(learner.network.named_buffers())})


def _of_member(i: int, error: Exception) -> Exception:
    """Return the error to raise: a lack of memory and a refusal are everybody's."""
    return error if out_of_memory(error) or isinstance(error, PackedPassError) else MemberError(i, error)
