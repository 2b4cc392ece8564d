"""Exponential moving averages of parameters in a few kernels a step, and what snapshots keep of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ablate.api import Average, Weights

Share = Callable[[int, int], float]  # (images, batch) -> the share of the old average that stays, in [0, 1]


class RunningAverages(Average):
    """Exponential moving averages: ā ← d·ā + (1 − d)·θ after every step, in place, for each of several rules d.

    rules: {label: share}; the first average is the one that is measured by default. snapshots: so many are kept,
    evenly over the training, in the number format `dtype`.
    """

    def __init__(
        self,
        parameters: Weights,
        rules: Mapping[str, Share],
        snapshots: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._snapshots = snapshots
        self._dtype = dtype
        self._rules = dict(rules)
        self._parameters = parameters
        self._averages = {label: {name: p.detach().clone() for name, p in parameters.items()} for label in self._rules}

    @torch.no_grad()
    def update(self, images: int, batch: int) -> None:
        """One step of each average, over all parameters at once."""
        for label, share in self._rules.items():
            average = self._averages[label]
            current = [self._parameters[name] for name in average]
            torch._foreach_lerp_(list(average.values()), current, 1 - share(images, batch))

    def weights(self) -> dict[str, Weights]:
        """Each average under its label; the tensors change with the next update."""
        return dict(self._averages)

    def state(self) -> dict[str, Tensor]:
        """The averages, by place and parameter name."""
        return {
            f"{place}.{name}": value
            for place, average in enumerate(self._averages.values())
            for name, value in average.items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError where the state is of another network."""
        own = self.state()
        if state.keys() != own.keys():
            raise KeyError(f"the average is of other parameters: {sorted(state.keys() ^ own.keys())[:4]}")
        for name, average in own.items():
            average.copy_(state[name])

    def due(self, images: int, batch: int, total: float) -> bool:
        """Whether this step passes a multiple of total / snapshots; never while the total is not known."""
        return passes(images, batch, total, self._snapshots)

    def snapshot(self) -> dict[str, Tensor]:
        """Every average, as its state names it; empty where no snapshots are kept."""
        return {name: value.to(self._dtype) for name, value in self.state().items()} if self._snapshots else {}


class LiveWeights(Average):
    """The parameters themselves: nothing is averaged or copied. snapshots: so many are kept, as in RunningAverages."""

    def __init__(self, parameters: Weights, snapshots: int = 0, dtype: torch.dtype = torch.float32) -> None:
        self._parameters = parameters
        self._snapshots = snapshots
        self._dtype = dtype

    def update(self, images: int, batch: int) -> None:
        """Nothing to do."""

    def weights(self) -> dict[str, Weights]:
        """The live parameters, under the label `none`."""
        return {"none": self._parameters}

    def state(self) -> dict[str, Tensor]:
        """Empty: the checkpoint has the parameters anyway."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to do."""

    def due(self, images: int, batch: int, total: float) -> bool:
        """Whether this step passes a multiple of total / snapshots; never while the total is not known."""
        return passes(images, batch, total, self._snapshots)

    def snapshot(self) -> dict[str, Tensor]:
        """The parameters, named like a single average; empty where no snapshots are kept."""
        return {f"0.{n}": p.detach().to(self._dtype) for n, p in self._parameters.items()} if self._snapshots else {}


def passes(images: int, batch: int, total: float, parts: int) -> bool:
    """Return whether the last `batch` of `images` passed or met a multiple of total / parts; never where parts is 0."""
    if not math.isfinite(total):
        return False
    return math.floor(images * parts / total) > math.floor((images - batch) * parts / total)


def add(into: dict[str, Tensor], tensors: Mapping[str, Tensor], coefficients: Mapping[str, float]) -> None:
    """Add a weighted sum: into[name] += Σ_place coefficients[place] · tensors["place.name"]."""
    for full, value in tensors.items():
        place, _, name = full.partition(".")
        if name in into:
            into[name].add_(value, alpha=coefficients[place])
        else:
            into[name] = value * coefficients[place]
