"""ema: moving averages of the weights, with which samples are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from ablate.errors import InputError
from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor

Weights = Mapping[str, "Tensor"]


class Kept(Protocol):
    """The snapshots that a training stored in its folder."""

    @property
    def images(self) -> Sequence[int]:
        """Images seen at each finished snapshot, ascending."""
        ...

    def load(self, images: int) -> Mapping[str, Tensor]:
        """Return what `Average.snapshot` gave then, in fp32."""
        ...


class Average(ABC):
    """Running averages of one network's parameters."""

    @abstractmethod
    def update(self, images: int, batch: int) -> None:
        """Update the averages after a step; `images` seen so far, `batch` of them in this step."""

    @abstractmethod
    def weights(self) -> dict[str, Weights]:
        """Return {label: parameters by name}; the first is the one that is measured by default."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""

    def due(self, images: int, batch: int, total: float) -> bool:
        """Return whether to store a snapshot after this step of a training of `total` images (inf: not known yet).

        The last step of a training is always asked for one.
        """
        return False

    def snapshot(self) -> Mapping[str, Tensor]:
        """Return the tensors to store for good, in the number format of the file; empty where there are none."""
        return {}


class Ema(Component):
    """Builds moving averages of the weights. They count in images, so that the batch size does not change them."""

    kind: ClassVar[str] = "ema"

    @abstractmethod
    def build(self, parameters: Weights) -> Average:
        """Build an average that starts at `parameters`, which it reads again at each update.

        One that averages each number by itself, and whose `state()` gives its tensors themselves, each of the shape of
        a parameter, says "stackable" in `provides()`: in a pack it averages for several trainings at once.
        """

    def measured(self, average: Average, snapshots: Kept) -> dict[str, Weights]:
        """Return what is measured at the end of training: {label: weights}; the first is the one that counts."""
        return average.weights()

    def measured_during(self, average: Average, snapshots: Kept) -> dict[str, Weights]:
        """Return what is measured at a point of the training, one average that counts; `snapshots` end at that point.

        Raises InputError, with the reason, where that average cannot be had so early.
        """
        return dict(list(self.measured(average, snapshots).items())[:1])

    def earlier(self, images: int, snapshots: Kept) -> Weights:
        """Return the weights as they stood at the snapshot of these images, in fp32; an average of then, if it has one.

        One that can says "snapshots" in `provides()`. Raises InputError where none are kept.
        """
        raise InputError(f"ema {self.name!r} keeps no snapshots, so no earlier weights can be had")

    def lengths(self, images: Sequence[int]) -> tuple[float, float] | None:
        """Return the shortest and the longest relative length that snapshots at these `images` give; None: no length.

        A length is the standard deviation of an average's weights over time, relative to the training's
        duration (σ_rel of Karras et al. 2024, section 3.1), whatever snapshots it is made of.
        """
        return None

    def rebuild(self, lengths: Sequence[float], snapshots: Kept) -> dict[str, Weights]:
        """Return {label: weights} of averages of these relative lengths, after the last snapshot.

        Raises InputError for a length outside of `lengths`, with the reason and what can be had.
        """
        raise InputError(
            f"ema {self.name!r} keeps no snapshots, so no average of another length can be rebuilt: "
            "train with one that does (`ablate plugins list` tells which)"
        )
