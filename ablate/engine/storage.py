"""The SQLite file of Optuna's study: opened, and what it refuses said as an InputError."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from ablate.errors import InputError

ANEW = "remove it, then give the same command again: it is made anew from the records, and nothing is measured twice"


def open_storage(file: Path) -> optuna.storages.RDBStorage:
    """Open an Optuna storage in a SQLite file; it waits up to a minute for another process's lock."""
    return optuna.storages.RDBStorage(f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": 60}})


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
    """The same, where nothing but the file's content can be at fault."""
    try:
        with refusals(file):
            yield
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, SQLAlchemyError) as error:
        raise InputError(f"is no ledger of this study ({error}); {ANEW}", str(file)) from error
