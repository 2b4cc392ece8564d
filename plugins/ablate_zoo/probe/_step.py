"""What a step of training shows, block by block: gradients, weights, and how far the weights move."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ablate.api import Readings, StepObserver
from ablate_zoo.layers.gradients import total_norms
from ablate_zoo.probe._sites import sites

Place = tuple[str, int]  # a block's name and depth


def trained_parameters(network: nn.Module) -> dict[Place, list[nn.Parameter]]:
    """Return the parameters of each block that are trained; blocks without any are left out."""
    by_block = {
        (name, depth): [p for p in module.parameters() if p.requires_grad]
        for depth, (name, module) in enumerate(sites(network).items())
    }
    return {at: parameters for at, parameters in by_block.items() if parameters}


def readings(places: Iterable[Place], values: Tensor) -> Readings:
    """Return readings with a value for each block."""
    names, depths = zip(*places, strict=True)
    return Readings(names, depths, values)


NOTHING = Readings([], [], torch.zeros(0))


class BlockNorms(StepObserver):
    """The L2 norm of what `of` gives for a block's parameters, when the gradients are there."""

    def __init__(self, of: Callable[[Iterable[nn.Parameter]], list[Tensor]]) -> None:
        self.of = of
        self._readings = NOTHING

    def graded(self, network: nn.Module) -> None:
        """Weights and gradients as they are before clipping and before the step."""
        groups = {at: tensors for at, ps in trained_parameters(network).items() if (tensors := self.of(ps))}
        if groups:
            self._readings = readings(groups, total_norms(groups.values()))

    def read(self) -> Readings:
        """A norm a block."""
        observed, self._readings = self._readings, NOTHING
        return observed


def weights(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the parameters as plain tensors."""
    return [p.detach() for p in parameters]


class UpdateRatio(StepObserver):
    """|Δw| / |w| of a step, in L2 norms over a block. It holds a copy of the weights during the observed step."""

    def __init__(self) -> None:
        self._before: dict[Place, list[Tensor]] = {}
        self._readings = NOTHING

    def graded(self, network: nn.Module) -> None:
        """Keep the weights."""
        self._before = {at: [p.detach().clone() for p in ps] for at, ps in trained_parameters(network).items()}

    def moved(self, network: nn.Module) -> None:
        """Compare."""
        after, before, self._before = trained_parameters(network), self._before, {}
        if before:
            moves = [[p.detach() - old for p, old in zip(after[at], before[at], strict=True)] for at in before]
            self._readings = readings(before, total_norms(moves) / total_norms(before.values()))

    def read(self) -> Readings:
        """A ratio a block."""
        observed, self._readings = self._readings, NOTHING
        return observed
