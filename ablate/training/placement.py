"""Where a training's parameters lie, and who shares its steps: one device, a copy on each of several, or shards.

The one seam between the training step and several devices. The step asks it for this process's share of a batch, to
sum gradients, and to tell the others what comes next; checkpoints ask it for whole tensors, and to place those that
they give back. Nothing else knows how many devices there are.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ablate.errors import InputError
from ablate.kinds.clip import Norms
from ablate.runtime.isolation import Watch
from ablate.training.group import Group, Order

if TYPE_CHECKING:
    import torch

    from ablate.training.building import Modules
    from ablate.training.learner import Learner

State = dict[str, Any]  # an optimizer's state_dict


class Placement(ABC):
    """How the parameters of one process's learner lie. group: of the processes that share its steps, or None."""

    def __init__(self, group: Group | None = None) -> None:
        self.group = group

    def share(self, images: int) -> slice:
        """Return which images of a batch are this process's."""
        return slice(0, images) if self.group is None else self.group.share(images)

    @property
    def dropout(self) -> str:
        """The stream that dropout draws from: each process has its own images to drop out of."""
        return "dropout" if self.group is None or self.group.rank == 0 else f"dropout/{self.group.rank}"

    def announce(self, order: Order, budget: float = 0.0) -> None:
        """Tell the others what comes next, where this process leads some."""
        if self.group is not None and self.group.rank == 0:
            self.group.order(order, budget)

    @abstractmethod
    def sum(self, parameters: Iterable[nn.Parameter], numbers: Sequence[Tensor]) -> None:
        """Sum the gradients of a batch, and numbers of it, over the shares, in place."""

    @abstractmethod
    def norms(self, norms: Norms) -> Norms:
        """Return norms of the whole gradient as plain numbers."""

    @abstractmethod
    def gather(self, tensors: Mapping[str, Tensor], order: Order) -> Mapping[str, Tensor]:
        """Return a training's tensors whole. `order` has the others take part; they get nothing of it."""

    @abstractmethod
    def place(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return whole tensors as those of the same names in `like` lie."""

    @abstractmethod
    def place_moments(self, state: State, optimizer: torch.optim.Optimizer) -> State:
        """Return an optimizer's whole state as its parameters lie."""


class Whole(Placement):
    """All parameters on the device; of a group each process has them all, and they stay the same (data parallelism)."""

    def sum(self, parameters: Iterable[nn.Parameter], numbers: Sequence[Tensor]) -> None:
        """See `Placement.sum`."""
        if self.group is not None:
            self.group.sum(parameters, numbers)

    def norms(self, norms: Norms) -> Norms:
        """See `Placement.norms`."""
        return norms

    def gather(self, tensors: Mapping[str, Tensor], order: Order) -> Mapping[str, Tensor]:
        """See `Placement.gather`."""
        return tensors

    def place(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Placement.place`."""
        return tensors

    def place_moments(self, state: State, optimizer: torch.optim.Optimizer) -> State:
        """See `Placement.place_moments`."""
        return state


class Shards(Placement):
    """A part of each parameter, gradient, moment and average on each device of a group; see `ablate.training.sharded`.

    The modules of the training are sharded here. Raises ValueError where that cannot be.
    """

    def __init__(self, group: Group, modules: Modules, device: torch.device) -> None:
        from ablate.training import sharded  # which imports torch's distributed tensors

        super().__init__(group)
        self._sharded, self._group = sharded, group
        sharded.shard(modules.network, device, group.size)
        for beside in (modules.uncertainty, modules.terms):
            if beside is not None and any(True for _ in beside.parameters()):
                sharded.shard(beside, device, group.size)

    def sum(self, parameters: Iterable[nn.Parameter], numbers: Sequence[Tensor]) -> None:
        """See `Placement.sum`; gradients of shards are summed by the backward pass."""
        self._group.sum(self._sharded.beside_shards(parameters), numbers)

    def norms(self, norms: Norms) -> Norms:
        """See `Placement.norms`; every process calls it."""
        return Norms(self._sharded.whole(norms.before), self._sharded.whole(norms.after))

    def gather(self, tensors: Mapping[str, Tensor], order: Order) -> Mapping[str, Tensor]:
        """See `Placement.gather`; every process calls it."""
        self.announce(order)
        return self._sharded.gathered(tensors, keep=self._group.rank == 0)

    def place(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Placement.place`."""
        return self._sharded.spread(tensors, like)

    def place_moments(self, state: State, optimizer: torch.optim.Optimizer) -> State:
        """See `Placement.place_moments`."""
        return self._sharded.spread_state(state, optimizer)


def join(learner: Learner, group: Group) -> None:
    """Let a group, whose learners have the same state, share the steps: by copies or shards, as the candidate says.

    Raises InputError where the candidate's weights cannot be sharded.
    """
    if not learner.candidate.is_sharded:
        learner.placement = Whole(group)
        return
    with _put_elsewhere(learner):
        try:
            learner.placement = Shards(group, learner.modules, learner.device)
        except ValueError as error:
            name = learner.candidate.backbone.name
            raise InputError(f"layout: fsdp does not go with backbone {name!r}: {error}; leave layout out") from None


def settle(learner: Learner) -> None:
    """Bring what waits in host memory to the device."""
    if learner.home != learner.device:
        with _put_elsewhere(learner):
            learner.home = learner.device
            learner.network.to(learner.device)


@contextlib.contextmanager
def _put_elsewhere(learner: Learner) -> Iterator[None]:
    """Let a learner's parameters be put elsewhere within a `with`; optimizer and averages are built anew and follow."""
    state = learner.state({})
    yield
    learner.hold(Watch())
    learner.load(state)
