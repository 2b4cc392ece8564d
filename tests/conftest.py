"""Settings for all tests."""

import functools
import gc
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from typing import Any

# Before anything imports torch. Two tests run at a time, and sums in another order are other numbers: the processes
# that tests start, and the tests themselves, compute with one thread.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import sqlalchemy
from alembic.script import ScriptDirectory
from hypothesis import settings

# The first call of an operator imports torch, and a machine may be busy: time is not what is tested.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

# No power is cut in a test: where there is room, `tmp_path` is in memory, for on a disk each rename waits for it.
MEMORY, ROOM = "/dev/shm", 4 * 2**30
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)

# A shell starts what it puts into the background deaf to Ctrl-C, and children inherit that: tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def _quick_collections() -> None:
    """What was imported stays: no collection has to look at it again (statsmodels collects at every call)."""
    gc.freeze()


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _unsynced(connection: Any, _: object) -> None:
    """Its databases do not wait for it either. Who is killed loses nothing by that."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture(autouse=True, scope="session")
def _schemas_read_once() -> Iterator[None]:
    """Optuna imports the history of its tables, a dozen modules, whenever it makes or examines a database."""

    @functools.cache
    def directory(where: str) -> ScriptDirectory:
        return ScriptDirectory(where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ScriptDirectory, "from_config", lambda config: directory(config.get_main_option("script_location"))
        )
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `make thorough` asks for."""
    parser.addoption("--thorough", action="store_true", help="also the tests that repeat a guard in another way")


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether there is time for every moment, and not for some."""
    return bool(request.config.getoption("--thorough"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The files with slow tests first: whole programs that are killed would else be what one process waits for.

    A file stays together, so that what its tests share is made once. Tests marked `thorough` are left out, unless
    they are asked for.
    """
    if not config.getoption("--thorough"):
        left_out = [item for item in items if item.get_closest_marker("thorough") is not None]
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


def pytest_sessionfinish() -> None:
    """Libraries look for leaks when the process ends."""
    gc.unfreeze()
