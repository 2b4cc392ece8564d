"""tracker `wandb`: runs of Weights & Biases, online or in files that `wandb sync` sends later."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field

from ablate.api import InputError, Log, TrackedStudy, TrackedTrial, Tracker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SENDS = 120  # seconds in which a server has to answer


class WeightsAndBiases(Tracker):
    """A run a trial, in the group of its candidate; the axis is `images`. `mode: offline` needs no account."""

    name = "wandb"

    project: Annotated[str | None, Field(min_length=1, max_length=128)] = None  # none: the study's name
    entity: Annotated[str | None, Field(min_length=1, max_length=128)] = None  # user or team; none: your default one
    mode: Literal["online", "offline"] | None = None  # none: as WANDB_MODE says, else online
    tags: Annotated[tuple[str, ...], Field(max_length=50)] = ()  # of every run, beside the study's name

    @classmethod
    def missing(cls) -> str | None:
        """Its package."""
        return None if importlib.util.find_spec("wandb") else "pip install 'ablate[wandb]'"

    def offline(self) -> Self:
        """Files in `wandb/` of the study's folder."""
        return self.model_copy(update={"mode": "offline"})

    def shown_by(self, study: TrackedStudy) -> str | None:
        """What sends files that were written offline; else its site."""
        if (self.mode or os.environ.get("WANDB_MODE", "online")) == "online":
            return "https://wandb.ai"
        return f"wandb sync {shlex.quote(str(study.folder / 'wandb'))}/offline-run-*"

    def open(self, study: TrackedStudy) -> Log:
        """Raises InputError where it would have to ask for a key: nobody is there to answer."""
        import wandb

        mode = self.mode or os.environ.get("WANDB_MODE", "online")
        if mode == "online" and not _logged_in(wandb):
            raise InputError("you are not logged in: `wandb login`, or say {type: wandb, mode: offline}")
        return Runs(self, study, mode)


def _logged_in(wandb: Any) -> bool:
    try:
        return bool(wandb.login(anonymous="never", timeout=1))
    except Exception:  # noqa: BLE001 - whatever it raises without a key, in any version
        return False


class Runs(Log):
    """A run for each trial that is open."""

    def __init__(self, tracker: WeightsAndBiases, study: TrackedStudy, mode: str) -> None:
        self.tracker = tracker
        self.study = study
        self.mode = mode
        self.runs: dict[str, Any] = {}

    def begin(self, trial: TrackedTrial, handle: str | None) -> str | None:
        """A new run has an id of its own, by which it is gone on with."""
        import wandb

        run_id = handle or f"{trial.trial}-{secrets.token_hex(3)}"
        run = self.runs[trial.trial] = wandb.init(
            project=self.tracker.project or self.study.name,
            entity=self.tracker.entity,
            group=_short(trial.candidate),
            job_type="baseline" if trial.baseline else "candidate",
            name=_short(f"{trial.candidate[:100]} seed {trial.seed}"),
            id=run_id,
            resume="allow" if self.mode == "online" else None,  # offline files of one id are joined when they are sent
            dir=str(self.study.folder),
            tags=[_short(self.study.name, 64), *self.tracker.tags],
            notes=self.study.question or None,
            config={
                "study": self.study.name,
                "candidate": trial.candidate,
                "seed": trial.seed,
                "config_hash": trial.config_hash,
                "choices": dict(trial.choices),
                **dict(trial.facts),
            },
            mode=self.mode,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=SENDS, x_disable_stats=True, save_code=False, disable_git=True
            ),
        )
        run.define_metric("images")
        run.define_metric("*", step_metric="images")
        return run_id

    def log(self, trial: str, images: int, values: Mapping[str, float], seconds: float | None) -> None:
        """One row; its place is `images`, as rows of other metrics may be of fewer."""
        more = {} if seconds is None else {"train_seconds": seconds}
        self.runs[trial].log({"images": images, **values, **more})

    def picture(self, trial: str, images: int, picture: NDArray[np.uint8]) -> None:
        """An image, under `samples`."""
        import wandb

        self.runs[trial].log({"images": images, "samples": wandb.Image(picture)})

    def end(self, trial: str, state: str, values: Mapping[str, float], message: str | None) -> None:
        """The summary has the last values, and how it ended."""
        run = self.runs.pop(trial)
        run.summary.update({**values, "state": state, **({} if message is None else {"message": message})})
        run.finish(exit_code=1 if state == "failed" else 0)

    def close(self) -> None:
        """Runs that are open end here; they are gone on with by their ids."""
        for run in self.runs.values():
            run.finish()
        self.runs.clear()


def _short(name: str, most: int = 128) -> str:
    """Return a name of no more than so many signs, which is as long as a name may be there."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
