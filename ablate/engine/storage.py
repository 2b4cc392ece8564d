"""The SQLite file of Optuna's study: created, opened, written anew; what it refuses is raised as an InputError."""

from __future__ import annotations

import contextlib
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.trial import FrozenTrial
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from ablate.candidates.objectives import Objective
from ablate.engine.sole_writer import SoleWriter
from ablate.errors import InputError
from ablate.io.files import write_with

ANEW = "remove it, then give the same command again: it is made anew from the records, and nothing is measured twice"


@contextlib.contextmanager
def refusals(file: Path) -> Iterator[None]:
    """Turn what SQLite refuses (a full disk, a file that may not be written or is damaged) into an InputError."""
    try:
        yield
    except (DatabaseError, StorageInternalError) as error:
        cause = error if isinstance(error, DatabaseError) else error.__cause__
        reason = getattr(cause, "orig", cause)
        message = f"{reason}; put it right, then give the same command again: it goes on from what is there"
        if isinstance(cause, DatabaseError) and not isinstance(cause, OperationalError):
            message = f"{reason}; {ANEW}"
        raise InputError(message, str(file)) from error


@contextlib.contextmanager
def reading(file: Path) -> Iterator[None]:
    """Do the same, and turn every other error into one too: nothing but the file's content can be at fault."""
    try:
        with refusals(file):
            yield
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, SQLAlchemyError) as error:
        raise InputError(f"is no ledger of this study ({error}); {ANEW}", str(file)) from error


class Store(Protocol):
    """Where the ledger keeps its Optuna study."""

    @property
    def study(self) -> optuna.Study:
        """The study."""

    def trial(self, number: int) -> optuna.trial.Trial:
        """Return a trial of the study, to write on."""

    def replace(self, trials: Sequence[FrozenTrial]) -> None:
        """Put these trials in place of its own."""

    def close(self) -> None:
        """Close it."""


class StudyFile:
    """One Optuna study in one SQLite file, which is created where it does not exist.

    labels: what the values are called, one an objective.
    """

    def __init__(self, file: Path, name: str, objectives: Sequence[Objective], labels: Sequence[str]) -> None:
        self.file = file
        self._name = name
        self._labels = list(labels)
        self._directions: list[Literal["minimize", "maximize"]] = [
            "maximize" if objective.larger_is_better else "minimize" for objective in objectives
        ]
        with refusals(file):
            if made := not file.exists():
                write_with(file, self._create)
        with reading(file):
            self._load(made)
            if [direction.name.lower() for direction in self.study.directions] != self._directions:
                raise ValueError("it has other objectives")

    @property
    def study(self) -> optuna.Study:
        """The study; who writes to it is the only one."""
        return self._study

    def trial(self, number: int) -> optuna.trial.Trial:
        """Return a trial of the study, to write on."""
        study_id = self._storage.get_study_id_from_name(self.study.study_name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return optuna.trial.Trial(self.study, trial_id)

    def replace(self, trials: Sequence[FrozenTrial]) -> None:
        """Write the file anew, with these trials in it."""
        attributes = self.study.user_attrs
        self.close()
        write_with(self.file, lambda path: self._create(path, trials, attributes))
        self._load(made=True)

    def close(self) -> None:
        """Close the database."""
        _close(self._storage)

    def _load(self, made: bool) -> None:
        """Load the study. made: its file was made just now, so that its schema is today's."""
        self._storage = _open_storage(self.file, made)
        study = self._study_in(self._storage)
        behind = optuna.storages.get_storage(self._storage)
        kept = SoleWriter(behind, behind.get_study_id_from_name(study.study_name))  # a folder has one driver
        self._study = optuna.load_study(study_name=study.study_name, storage=kept)
        if self.study.metric_names not in (None, self._labels):
            self._name_values(self.study)  # they are taken at another share of the budget than before

    def _create(
        self, file: Path, trials: Sequence[FrozenTrial] = (), attributes: Mapping[str, Any] | None = None
    ) -> None:
        """Create the database, with trials and the study's attributes; it is put in its place when it is complete.

        Cut short between a table and its index it would lack that for good; and without the one that keeps names
        apart, every further run would begin a second study of the same name.
        """
        storage = _open_storage(file, made=True, connection=_Unsynced)
        study = self._study_in(storage)
        self._name_values(study)
        study.add_trials(trials)
        for name, value in (attributes or {}).items():
            study.set_user_attr(name, value)
        _close(storage)

    def _name_values(self, study: optuna.Study) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(self._labels)  # for `ablate dashboard`

    def _study_in(self, storage: optuna.storages.RDBStorage) -> optuna.Study:
        return optuna.create_study(
            study_name=self._name,
            storage=storage,
            directions=self._directions,
            load_if_exists=True,
        )


class _Unsynced(sqlite3.Connection):
    """A connection to a file that is synced as a whole before it takes its place: no statement waits for the disk."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.execute("PRAGMA synchronous = OFF")
        self.execute("PRAGMA journal_mode = MEMORY")


def _open_storage(
    file: Path, made: bool = False, connection: type[sqlite3.Connection] = sqlite3.Connection
) -> optuna.storages.RDBStorage:
    """Open an Optuna storage in a SQLite file; it waits up to a minute for another process's lock."""
    return optuna.storages.RDBStorage(
        f"sqlite:///{file}",
        engine_kwargs={"connect_args": {"timeout": 60, "factory": connection}},
        skip_compatibility_check=made,
    )


def _close(storage: optuna.storages.RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()
