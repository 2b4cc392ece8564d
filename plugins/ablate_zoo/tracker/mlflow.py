"""tracker `mlflow`: runs of an MLflow experiment, on a server or in a file of the study's folder."""

from __future__ import annotations

import importlib.util
import os
import shlex
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field

from ablate.api import Log, TrackedStudy, TrackedTrial, Tracker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STATUS = {"complete": "FINISHED", "diverged": "FINISHED", "failed": "FAILED"}
FILE = "sqlite:///mlflow.db"  # in the study's folder
PARAM, TAG = 6000, 5000  # signs that a value may have


class MLflow(Tracker):
    """A run a trial in the experiment of its study, with the candidate as a tag; steps are training images."""

    name = "mlflow"

    uri: Annotated[str | None, Field(min_length=1, max_length=1000)] = None
    """Such as http://127.0.0.1:5000 or sqlite:///runs.db; none: MLFLOW_TRACKING_URI, else a file in the study's folder.
    """
    experiment: Annotated[str | None, Field(min_length=1, max_length=200)] = None  # none: the study's name

    @classmethod
    def missing(cls) -> str | None:
        """Its package; the small one is enough, with what writes into SQLite."""
        packages = ("mlflow", "sqlalchemy", "alembic")
        return None if all(map(importlib.util.find_spec, packages)) else "pip install 'ablate[mlflow]'"

    def offline(self) -> Self:
        """The file in the study's folder."""
        return self.model_copy(update={"uri": FILE})

    def shown_by(self, study: TrackedStudy) -> str | None:
        """MLflow's own command, or the server."""
        uri = self._place(study)
        return uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"

    def _place(self, study: TrackedStudy) -> str:
        """Return the address; that of a file is relative to the study's folder."""
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI") or FILE
        relative = uri.startswith("sqlite:///") and not uri.startswith("sqlite:////")
        return f"sqlite:///{study.folder / uri.removeprefix('sqlite:///')}" if relative else uri

    def open(self, study: TrackedStudy) -> Log:
        """Connect, and find or make the experiment."""
        from mlflow import MlflowClient

        uri = self._place(study)
        client = MlflowClient(tracking_uri=uri)
        name = self.experiment or study.name
        found = client.get_experiment_by_name(name)
        if found is None:
            where = (study.folder / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None
            tags = {"mlflow.note.content": study.question[:TAG]} if study.question else None
            made = client.create_experiment(name, artifact_location=where, tags=tags)
        return Runs(client, made if found is None else found.experiment_id, study)


class Runs(Log):
    """The runs of an experiment."""

    def __init__(self, client: Any, experiment: str, study: TrackedStudy) -> None:
        self.client = client
        self.experiment = experiment
        self.study = study
        self.runs: dict[str, str] = {}

    def begin(self, trial: TrackedTrial, handle: str | None) -> str | None:
        """A run of which the handle tells is open again; else a new one."""
        if handle is not None:
            self.client.update_run(handle, status="RUNNING")
            self.runs[trial.trial] = handle
            return handle
        from mlflow.entities import Param

        tags = {
            "study": self.study.name,
            "candidate": trial.candidate[:TAG],
            "trial": trial.trial,
            "config_hash": trial.config_hash,
            "baseline": str(trial.baseline).lower(),
        }
        run = self.client.create_run(self.experiment, run_name=f"{trial.candidate[:200]} seed {trial.seed}", tags=tags)
        told = {"seed": trial.seed, "candidate": trial.candidate, **dict(trial.choices), **dict(trial.facts)}
        params = [Param(_key(name), str(value)[:PARAM]) for name, value in told.items()]
        self.client.log_batch(run.info.run_id, params=params)
        self.runs[trial.trial] = run.info.run_id
        return str(run.info.run_id)

    def log(self, trial: str, images: int, values: Mapping[str, float], seconds: float | None) -> None:
        """A metric each."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        told = {**values, **({} if seconds is None else {"train_seconds": seconds})}
        self.client.log_batch(self.runs[trial], metrics=[Metric(_key(k), v, now, images) for k, v in told.items()])

    def picture(self, trial: str, images: int, picture: NDArray[np.uint8]) -> None:
        """An artifact, `samples/<images>.png`."""
        self.client.log_image(self.runs[trial], picture, artifact_file=f"samples/{images:012d}.png")

    def end(self, trial: str, state: str, values: Mapping[str, float], message: str | None) -> None:
        """The last values under `last.`, and the state as a tag."""
        from mlflow.entities import Metric

        run, now = self.runs.pop(trial), int(1000 * time.time())
        self.client.log_batch(run, metrics=[Metric(_key(f"last.{k}"), v, now, 0) for k, v in values.items()])
        self.client.set_tag(run, "state", state)
        if message is not None:
            self.client.set_tag(run, "message", message[:TAG])
        self.client.set_terminated(run, status=STATUS.get(state, "FINISHED"))

    def close(self) -> None:
        """Everything was written at once."""
        self.runs.clear()


def _key(name: str) -> str:
    """Return a name of the signs that names may have there: letters, digits, '_', '-', '.', ' ' and '/'."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-. /") else "_" for sign in name)[:250]
