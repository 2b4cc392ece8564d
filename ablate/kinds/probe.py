"""probe: an observer of a training, which reports numbers and changes nothing."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from ablate.spec.component import Component, Course

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from ablate.kinds.noised import Noised
    from ablate.kinds.process import Process

HELD = 128  # images of the held batch
OBSERVATIONS = 20  # of a training at the most, where a probe does not say how often
SPACING = 50  # steps between two of them, at the least: an observation takes at most about one step's time
SPACING_IMAGES = 32 * HELD  # and images: a forward pass of the held batch is a third of training on it

Row = Mapping[str, Any]  # {"probe", "images", "site", "x", "value"}; a value that is not finite is None


class Readings(NamedTuple):
    """The numbers of one observation. Nothing here waits for the device: they are read later."""

    sites: Sequence[str]  # a module's name, a level, a quantity, or ""
    x: Sequence[float | None]  # where on the probe's `axis`: a depth, a log SNR; None: nowhere on it
    values: Tensor  # (len(sites),), on the device


class Seen(NamedTuple):
    """Inputs and output of a part of the held batch in a forward pass."""

    noised: Noised  # its noise levels repeat one grid, even in the schedule's time
    prediction: Tensor  # (B, C, H, W) in the target's terms; 2·C channels with a learned variance
    loss: Tensor  # (B,): the loss of each image, as it is trained on
    process: Process


class PassObserver(ABC):
    """Observes a forward pass over a held batch, in `eval()`, without gradients, in the candidate's precision.

    The batch is the same in all of a trial and for all candidates of a seed. It may come in parts.
    """

    def attach(self, network: nn.Module) -> Sequence[RemovableHandle]:
        """Register hooks for this pass, and return them; whoever calls removes them after it."""
        return ()

    def take(self, seen: Seen) -> None:
        """Observe a part of the batch, which has passed through the network."""
        return

    @abstractmethod
    def read(self) -> Readings:
        """Return the numbers since the last `read`."""


class StepObserver(ABC):
    """Observes one real step of training: its gradients, and how far the weights moved."""

    def graded(self, network: nn.Module) -> None:
        """Observe the gradients in the parameters: unscaled, not yet clipped. They must stay as they are."""
        return

    def moved(self, network: nn.Module) -> None:
        """Observe the weights after the optimizer's step."""
        return

    @abstractmethod
    def read(self) -> Readings:
        """Return the numbers of this step."""


class HistoryObserver(ABC):
    """Receives the loss and the gradient norm of every step, some time after the step, and reports events."""

    @abstractmethod
    def step(self, loss: float, norm: float) -> Sequence[tuple[str, float]]:
        """Take in the next step; (site, value) of each event in it. A norm may be infinite, the loss is not."""

    @abstractmethod
    def state(self) -> Any:
        """Return JSON that a checkpoint must hold."""

    @abstractmethod
    def load(self, state: Any) -> None:
        """Load what `state` returned."""


Observer = PassObserver | StepObserver | HistoryObserver


class Probe(Component):
    """Observes a training: rows of {probe, images, site, x, value}, and one number that sums them up.

    It is given under `probes:` in a study, and is no part of a trial's identity: it must change no
    weight and move no generator. Where it is absent nothing of it is left in the step. `build` makes
    one of three observers: `PassObserver` (activations, losses by level), `StepObserver` (gradients,
    weights, updates) or `HistoryObserver` (events in the loss). They are shown the network when it is
    their turn, and keep no reference to it.

    The first observation is made at initialisation, the last at the end of training, the others at the
    first step at or after each multiple of `every` images. Each is labelled with the images seen before
    it. Where time decides how long a training is, there is no last step that could be observed.
    """

    kind: ClassVar[str] = "probe"
    axis: ClassVar[str] = "depth"  # what `x` is, for the figures
    larger_is_better: ClassVar[bool] = False  # where its summary is an objective

    # Images between two observations. None: a twentieth of the training, but no more often than every 50
    # steps and every 4,096 images, so that all probes together take less than 3 % of a training.
    every: Annotated[int | None, Field(ge=1, le=10**12)] = None

    @abstractmethod
    def build(self) -> Observer:
        """Build an observer for one training; torch is imported no earlier than this."""

    def interval(self, batch: int, images: float) -> float:
        """Return the images between two observations of a training of so many; inf: it is not known how many."""
        if self.every is not None:
            return float(self.every)
        planned = images / OBSERVATIONS if math.isfinite(images) else 0.0
        return max(planned, SPACING * batch, SPACING_IMAGES)

    def idle(self, course: Course) -> Iterator[str]:
        """Warn of an interval that is longer than the training."""
        if self.every is not None and course.images is not None and self.every >= course.images:
            interval = f"every {self.every:,} images: a training of {course.images:,} is looked at"
            yield f"{interval} at its beginning and its end alone"

    def summary(self, rows: Sequence[Row]) -> float | None:
        """Sum up all rows of a trial, in the order of images, in one number; here the largest of the last observation.

        None where there is nothing to sum up, or it is not finite.
        """
        if not rows:
            return None
        values = [row["value"] for row in rows if row["images"] == rows[-1]["images"]]
        return None if None in values else float(max(values))
