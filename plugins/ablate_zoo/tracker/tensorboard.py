"""tracker `tensorboard`: event files, which `tensorboard --logdir` shows."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ablate.api import Log, TrackedStudy, TrackedTrial, Tracker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}  # a text there is markdown


class TensorBoard(Tracker):
    """Event files, a folder a trial below one a candidate; `tensorboard --logdir results/STUDY/tensorboard`."""

    name = "tensorboard"

    folder: Annotated[str, Field(min_length=1, max_length=1000)] = "tensorboard"  # relative to the study's folder

    @classmethod
    def missing(cls) -> str | None:
        """TensorBoard; torch writes its files."""
        return None if importlib.util.find_spec("tensorboard") else "pip install 'ablate[tensorboard]'"

    def shown_by(self, study: TrackedStudy) -> str | None:
        """TensorBoard's own command."""
        return f"tensorboard --logdir {shlex.quote(str(study.folder / Path(self.folder).expanduser()))}"

    def open(self, study: TrackedStudy) -> Log:
        """Nothing is connected: files are written."""
        return EventFiles(study.folder / Path(self.folder).expanduser())


class EventFiles(Log):
    """A `SummaryWriter` for each trial that is open. Steps are training images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writers: dict[str, Any] = {}
        self.trials: dict[str, TrackedTrial] = {}

    def begin(self, trial: TrackedTrial, handle: str | None) -> str | None:
        """The trial's folder follows from it. What was logged anew replaces what was there."""
        from torch.utils.tensorboard import SummaryWriter

        candidate = re.sub(r"[^\w.=,()+-]+", "_", trial.candidate).strip("._")[:80]
        place = self.folder / f"{candidate}-{trial.config_hash[:7]}" / f"seed {trial.seed}"
        if handle is None:
            for file in place.glob("events.out.tfevents.*"):
                file.unlink()
        writer = self.writers[trial.trial] = SummaryWriter(str(place), flush_secs=10)
        self.trials[trial.trial] = trial
        if handle is None:
            facts = {"trial": trial.trial, **dict(trial.choices), **dict(trial.facts)}
            rows = [f"| {_text(key)} | {_text(value)} |" for key, value in facts.items()]
            writer.add_text("candidate", "\n".join([f"| {_text(trial.candidate)} | |", "|---|---|", *rows]))
        return str(place.relative_to(self.folder))

    def log(self, trial: str, images: int, values: Mapping[str, float], seconds: float | None) -> None:
        """A scalar each."""
        for name, value in values.items():
            self.writers[trial].add_scalar(name, value, images)

    def picture(self, trial: str, images: int, picture: NDArray[np.uint8]) -> None:
        """An image, under `samples`."""
        self.writers[trial].add_image("samples", picture, images, dataformats="HWC")

    def end(self, trial: str, state: str, values: Mapping[str, float], message: str | None) -> None:
        """The choices with the last values, for the page of hyperparameters."""
        writer, told = self.writers.pop(trial), self.trials.pop(trial)
        choices = {
            path: value if isinstance(value, bool | int | float | str) else str(value)
            for path, value in told.choices.items()
        }
        writer.add_text("state", _text(state if message is None else f"{state}: {message}"))
        last = {f"last/{name}": value for name, value in values.items()}
        writer.add_hparams({**choices, "seed": told.seed}, last, run_name=".")
        writer.close()

    def close(self) -> None:
        """Write what is in memory."""
        for writer in self.writers.values():
            writer.close()
        self.writers.clear()


def _text(words: object) -> str:
    """Return words that no markdown and no HTML is read from."""
    line = re.sub(r"[&<>]", lambda sign: HTML[sign.group()], " ".join(str(words).split()))
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", line)
