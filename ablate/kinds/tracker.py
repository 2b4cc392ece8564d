"""tracker: where a study's trials are logged beside its folder, such as TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from ablate.spec.component import Component

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TrackedStudy(NamedTuple):
    """The study whose trials are logged."""

    name: str  # letters, digits, '_', '-' and '.'
    question: str  # as its author wrote it: any signs
    folder: Path  # of its results, absolute; what a tracker keeps on disk lies in a folder of its own below


class TrackedTrial(NamedTuple):
    """A trial that is logged as one run; the runs of one candidate are a group."""

    trial: str  # its name, "0123456789ab-s0": the same at every launch
    candidate: str  # the candidate's name, for people; it may hold any printable signs
    config_hash: str  # the candidate's, hexadecimal: equal for all seeds
    seed: int
    baseline: bool  # whether it is of the baseline
    choices: Mapping[str, Any]  # {dotted path: label}: text, number, bool or None
    facts: Mapping[str, float]  # params, gflops, macs, as far as they are known


class Log(ABC):
    """A connection through which the trials of one study are logged, by one thread, in a process of its own.

    Any method may raise: then one warning says so, the tracker is left alone, and the study goes on.
    """

    @abstractmethod
    def begin(self, trial: TrackedTrial, handle: str | None) -> str | None:
        """Begin the run of a trial, or go on with the one of which `handle` tells; several trials are open at a time.

        handle: what `begin` returned when the trial was first logged, in this process or an earlier one; None at first.
        Returns what finds the run again, such as its id, at most 1,000 signs; None where the trial is enough.
        """

    @abstractmethod
    def log(self, trial: str, images: int, values: Mapping[str, float], seconds: float | None) -> None:
        """Log what was observed after so many training images: `loss`, `lr`, a metric's column; all values are finite.

        images: ascend for each name, and not over all. seconds: of training until then; None where not known.
        """

    @abstractmethod
    def picture(self, trial: str, images: int, picture: NDArray[np.uint8]) -> None:
        """Log samples after so many images, (H, W, 3): of the same latents each time."""

    @abstractmethod
    def end(self, trial: str, state: str, values: Mapping[str, float], message: str | None) -> None:
        """End the run. state: `complete`, `diverged` or `failed`. values: its last ones, finite. message: why not."""

    @abstractmethod
    def close(self) -> None:
        """Send what is still to be sent, and end; trials that are open are gone on with later, by their handles."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Tracker(Component):
    """Logs a study's trials where a team already looks: one run a trial, grouped by candidate.

    It stands under `trackers:` in a study, and decides no result: no hash knows it. It runs in a process of its own
    that reads the study's folder, so that it can neither hold up nor disturb what is trained; a tracker that cannot be
    reached, raises or hangs costs one warning. `ablate export DIR --to NAME` logs a whole study later.
    """

    kind: ClassVar[str] = "tracker"

    @classmethod
    def missing(cls) -> str | None:
        """Return what is to be installed, as a command: `pip install 'ablate[wandb]'`; None where all is there."""
        return None

    def offline(self) -> Self:
        """Return the tracker that logs into the study's folder alone, without network: checks try this one."""
        return self

    def shown_by(self, study: TrackedStudy) -> str | None:
        """Return the command, or the address, that shows what was logged; None where nobody can know it."""
        return None

    @abstractmethod
    def open(self, study: TrackedStudy) -> Log:
        """Connect. Raises InputError, or whatever its library raises, where that fails."""
