"""The ledger in PostgreSQL, by the study's `storage: postgresql://host/database`.

Every statement goes through one connection, which holds an advisory lock for as long as it lives: so whoever writes is
the study's only driver, and a driver that lost its connection, and with it the lock, can write no more. The lock of a
driver that was killed ends with its connection.

No password is taken in the URL: it would stand in the study's file, in the lock and in logs. libpq finds one in
`PGPASSWORD`, `~/.pgpass` or a service file, and whatever else it needs in its other variables.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.trial import FrozenTrial
from sqlalchemy import URL, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from ablate.candidates.objectives import Objective
from ablate.engine.sole_writer import SoleWriter
from ablate.errors import InputError
from ablate.io.database_url import checked
from ablate.io.files import read_json, write_json

FILE = "ledger.json"  # in the study's folder: which ledger in the database is its own
OWNER = "ablate"  # attribute of Optuna's study: of which folder it is
DIALECT = "postgresql+psycopg"
SECONDS = 10  # that a database may take to answer
QUIET = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}  # of a connection whose other end died
ADVICE = "put it right, then give the same command again: it goes on from what is there"
TABLES = ("studies", "trials", "alembic_version")


def _url(given: str) -> URL:
    """Return the URL of a database. Raises InputError, without repeating it, for one with a password or of no use."""
    try:
        url = make_url(checked(given))
    except (ArgumentError, ValueError) as error:
        raise InputError(str(error), "storage") from None
    return url.set(drivername=DIALECT)


class Database:
    """A database with the ledger of one study, of which this process is the only driver until `close`.

    folder: the study's. Raises InputError, in one message, where it cannot be reached, is at work for another driver,
    holds another folder's ledger of that name, or tables that are not Optuna's of today.
    """

    def __init__(self, given: str, name: str, folder: Path) -> None:
        self.url = _url(given)
        self.place = f"{self.url.set(drivername='postgresql')}"
        self._name = name
        self._folder = folder
        self._key = int.from_bytes(hashlib.sha256(f"ablate {name}".encode()).digest()[:8], "big", signed=True)
        try:
            import psycopg  # noqa: F401
        except ImportError:
            raise InputError("PostgreSQL needs psycopg: pip install 'ablate[postgres]'", "storage") from None
        self._connection: Any = None
        try:
            self._engine_arguments = {"creator": self._connect, "poolclass": StaticPool}
            self._check()
        except (SQLAlchemyError, StorageInternalError) as error:
            self._let_go()
            raise self._refused(error) from None
        except BaseException:
            self._let_go()
            raise

    def ledger(self, objectives: Sequence[Objective], labels: Sequence[str], identity: str | None) -> DatabaseStudy:
        """Return the study's ledger, made where there is none. identity: of the study; with another one it is new."""
        try:
            own = self._own()
            if own.get("identity", identity) != identity:
                with self._storage.engine.begin() as connection:
                    connection.execute(_RENAME, {"before": self._name, "after": f"{self._name}#{own['id'][:8]}"})
                own = {}
            if not own:
                own = {"schema": 1, "id": uuid.uuid4().hex, "identity": identity, "storage": self.place}
                write_json(self._folder / FILE, own)
            owner = {"id": own["id"], "host": socket.gethostname(), "folder": str(self._folder)}
            return DatabaseStudy(self._storage, self._name, owner, objectives, labels)
        except (SQLAlchemyError, StorageInternalError) as error:
            raise self._refused(error) from None

    def close(self) -> None:
        """Close the connection; with it the lock ends."""
        self._storage.remove_session()
        self._storage.engine.dispose()
        self._let_go()

    # --- within ---------------------------------------------------------------------------------------

    def _connect(self) -> Any:
        """Connect, and hold the study's lock with the connection. Raises InputError where another driver has it."""
        import psycopg

        names = {"username": "user", "database": "dbname"}
        given = self.url.translate_connect_args()
        parts = {names.get(key, key): value for key, value in given.items()} | dict(self.url.query)
        parts = {
            "connect_timeout": SECONDS,
            "application_name": f"ablate on {socket.gethostname()}, process {os.getpid()}"[:63],
            **QUIET,
            **parts,
        }
        connection = psycopg.connect(**parts)
        try:
            for name, value in QUIET.items():
                connection.execute(f"SET tcp_{name} = {value}")  # the server finds out too where this end has died
            held = connection.execute("SELECT pg_try_advisory_lock(%s)", [self._key]).fetchone()
            if held is None or not held[0]:
                holder = connection.execute(
                    _HOLDER, [self._key & 0xFFFFFFFF, (self._key >> 32) & 0xFFFFFFFF]
                ).fetchone()
                who = f" ({holder[0]}, since {holder[1]:%Y-%m-%d %H:%M})" if holder else ""
                raise InputError(f"another `ablate run` of {self._name!r} is at work with this ledger{who}", self.place)
            connection.commit()
            self._connection = connection
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self) -> None:
        from sqlalchemy import create_engine

        engine = create_engine(self.url, **self._engine_arguments)
        try:
            with engine.connect() as connection:
                tables = set(inspect(connection).get_table_names()) & {*TABLES}
                revision = None
                if "alembic_version" in tables:
                    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except BaseException:
            engine.dispose()
            raise
        engine.dispose()
        if tables and revision is None:
            raise InputError(
                f"holds tables of another schema ({', '.join(sorted(tables))}), not Optuna's; give another database",
                self.place,
            )
        try:
            self._storage = optuna.storages.RDBStorage(
                str(self.url), engine_kwargs=dict(self._engine_arguments), skip_compatibility_check=not tables
            )
        except RuntimeError as error:
            message = f"has the schema of another version of Optuna ({error}); give another database"
            raise InputError(message, self.place) from None
        self._check_owner()

    def _check_owner(self) -> None:
        try:
            study_id = self._storage.get_study_id_from_name(self._name)
        except KeyError:
            return
        owner = self._storage.get_study_user_attrs(study_id).get(OWNER)
        begun = bool(self._storage.get_all_trials(study_id, deepcopy=False))
        if owner is None and not begun:
            self._storage.delete_study(study_id)  # it was cut short while it was made
            return
        if owner is None or owner.get("id") != self._own().get("id"):
            of = f", begun in {owner.get('folder')} on host {owner.get('host')}" if owner else ", not made by ablate"
            raise InputError(
                f"holds the ledger of another study of the name {self._name!r}{of}; give this study another name, or "
                "another database",
                self.place,
            )

    def _let_go(self) -> None:
        """Close the connection, whoever has it: with it the lock ends."""
        if self._connection is not None:
            self._connection.close()

    def _own(self) -> dict[str, Any]:
        try:
            content = read_json(self._folder / FILE)
            return dict(content) if isinstance(content["id"], str) else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _refused(self, error: Exception) -> InputError:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())
        return InputError(f"cannot be used: {reason}; {ADVICE}", self.place)


class DatabaseStudy:
    """One Optuna study in a database; see `ablate.engine.storage.Store`."""

    def __init__(
        self,
        storage: optuna.storages.RDBStorage,
        name: str,
        owner: Mapping[str, str],
        objectives: Sequence[Objective],
        labels: Sequence[str],
    ) -> None:
        self._storage = storage
        self._name = name
        self._owner = dict(owner)
        self._labels = list(labels)
        self._directions: list[Literal["minimize", "maximize"]] = [
            "maximize" if objective.larger_is_better else "minimize" for objective in objectives
        ]
        self._remove(f"{name}#new", f"{name}#old")  # what was cut short
        with contextlib.suppress(DuplicatedStudyError):
            self._create(name)
        self._load()

    @property
    def study(self) -> optuna.Study:
        """The study; who writes to it is the only one."""
        return self._study

    def trial(self, number: int) -> optuna.trial.Trial:
        """Return a trial of the study, to write on."""
        study_id = self._storage.get_study_id_from_name(self._name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return optuna.trial.Trial(self.study, trial_id)

    def replace(self, trials: Sequence[FrozenTrial]) -> None:
        """Put these trials in place of its own, at once."""
        attributes = self.study.user_attrs
        self._create(f"{self._name}#new", trials, attributes)
        with self._storage.engine.begin() as connection:
            for before, after in ((self._name, f"{self._name}#old"), (f"{self._name}#new", self._name)):
                connection.execute(_RENAME, {"before": before, "after": after})
        self._remove(f"{self._name}#old")
        self._load()

    def close(self) -> None:
        """Close the connection; with it the lock ends."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _load(self) -> None:
        study_id = self._storage.get_study_id_from_name(self._name)
        self._study = optuna.load_study(study_name=self._name, storage=SoleWriter(self._storage, study_id))
        if [direction.name.lower() for direction in self._study.directions] != self._directions:
            raise ValueError("it has other objectives")
        if self._study.metric_names not in (None, self._labels):
            _name_values(self._study, self._labels)

    def _create(
        self, name: str, trials: Sequence[FrozenTrial] = (), attributes: Mapping[str, Any] | None = None
    ) -> None:
        study = optuna.create_study(study_name=name, storage=self._storage, directions=self._directions)
        _name_values(study, self._labels)
        study.add_trials(trials)
        for key, value in {**(attributes or {}), OWNER: self._owner}.items():
            study.set_user_attr(key, value)

    def _remove(self, *names: str) -> None:
        for name in names:
            try:
                study_id = self._storage.get_study_id_from_name(name)
            except KeyError:
                continue
            self._storage.delete_study(study_id)


_RENAME = text("UPDATE studies SET study_name = :after WHERE study_name = :before")
_HOLDER = """
    SELECT application_name, backend_start FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE locktype = 'advisory' AND granted AND objid = %s AND classid = %s AND datname = current_database()
"""


def _name_values(study: optuna.Study, labels: Sequence[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(labels))  # for `ablate dashboard`
