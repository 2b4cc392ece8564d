"""Ray clusters: one of this machine that lives and dies with this process, or one that is there.

Our own listens on the loopback interface only, behind a token of its own. Its files lie in a folder of
its own, not in /tmp/ray, which belongs to whoever came first and which other drivers search for a
cluster to join. What a killed driver left there is swept away by the next start; its processes are
ended by the kernel, because they are tied to the thread that started them: so `start` belongs into
the main thread. Whatever connects is tried in a process beside this one first, as Ray's native code
ends the process in which something fails.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ablate.errors import InputError
from ablate.execute.beside import UNAUTHORIZED, Beside, RayError
from ablate.io.locks import try_lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

PREFIX = "ablate-ray-"
LOCK = ".lock"  # in the folder
MARK = "ABLATE_RAY"  # environment variable by which the cluster's processes are known
OBJECT_STORE = 100_000_000  # bytes; jobs and reports are short strings (Ray's least is 75 MB)
LONGEST_BASE = 24  # a socket's path may have 107 bytes, and Ray appends some 70 to ours
LOOK = 5.0  # seconds between two looks whether a cluster's head still listens
SILENCE = 25.0  # seconds without an answer: after 60 Ray ends the program that is connected
CONNECT = 10.0  # seconds to reach a cluster
JOINING = 60.0  # seconds in which Ray has to have connected to a cluster that listens
STARTING = 180.0  # seconds in which a cluster of our own has to have started
GRACE = 5.0  # seconds in which processes that were killed are gone

_TOKEN = secrets.token_hex(32)  # one a process: Ray reads it once
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # see _loopback
    "RAY_AUTH_TOKEN": _TOKEN,  # else a token is written into the user's home
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # Ray's remarks between our lines: what is lost, a report says
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a FutureWarning
}


class Cluster(ABC):
    """Connects this process to Ray when it is made. Raises InputError where that fails by the user's settings."""

    def alive(self) -> bool:
        """Whether jobs can still end. If not: `close`, make another."""
        return True

    @abstractmethod
    def close(self) -> None:
        """Leave, or end, the cluster."""


class Joined(Cluster):
    """Somebody else's cluster: at an address, or the one that this program itself is connected to (None)."""

    def __init__(self, address: str | None, said: str | None = None) -> None:
        """said: where the address was named, for the message where nothing is to be found there."""
        with _own_handlers():
            import ray

        self._leave = address is not None
        self._heard = self._looked = time.monotonic()
        if address is not None:
            try:
                _reach(address)
                with _kept_on_loopback(address) as loopback, _own_handlers():
                    _tried(address, loopback)
                    ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
            except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                raise InputError(_refused(address, error), said) from error
        self._address = address if address and "://" in address else str(ray.get_runtime_context().gcs_address)

    def alive(self) -> bool:
        """True, or InputError where the head is gone for good: Ray itself would end this program a little later."""
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            try:
                _reach(self._address)
                self._heard = now
            except (OSError, ValueError) as error:
                if now - self._heard >= SILENCE:
                    told = f"the Ray cluster at {self._address} does not answer any more ({error})"
                    again = "start its head and give the same command again, or add --executor local"
                    raise InputError(f"{told}; {again}: it goes on from what is there") from error
        return True

    def close(self) -> None:
        """Disconnect, where the connection is ours."""
        import ray

        if self._leave:
            ray.shutdown()


class Own(Cluster):
    """One machine. slots: tasks of one CPU at once; threads: of OpenMP in each worker."""

    def __init__(self, slots: int, gpus: int, threads: int) -> None:
        try:
            self._begin(slots, gpus, threads)
        except (RuntimeError, ValueError, OSError):  # on a busy machine its servers may be late
            try:
                self._begin(slots, gpus, threads)
            except (RuntimeError, ValueError, OSError) as error:
                why = str(error).strip().partition("\n")[0] or type(error).__name__
                advice = "is it busy, or short of memory or disk? Try again, or take --executor local"
                raise InputError(f"Ray does not start on this machine ({why}); {advice}") from error

    def _begin(self, slots: int, gpus: int, threads: int) -> None:
        self._root, self._lock = _folder()
        self._head: Beside | None = None
        self._connecting = False
        try:
            self._head = Beside(
                {
                    "address": "local",
                    "num_cpus": slots,
                    "num_gpus": gpus,
                    "object_store_memory": OBJECT_STORE,
                    "include_dashboard": False,
                    "_node_ip_address": "127.0.0.1",
                    "_temp_dir": str(self._root),
                },
                {**_ENVIRONMENT, **_auth(), MARK: str(self._root), "OMP_NUM_THREADS": str(threads)},
                loopback=True,
                stay=True,
            )
            with _environment({**_ENVIRONMENT, **_auth()}), _loopback(), _own_handlers():
                import ray  # takes seconds, while the servers start

                address = self._head.address(STARTING)
                _read_again()
                self._connecting = True
                ray.init(
                    address=address,
                    _node_ip_address="127.0.0.1",
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
            children = psutil.Process(self._head.pid).children()
            self._servers = [p for p in children if p.name() in ("raylet", "gcs_server")]
        except BaseException:  # Ctrl-C too: half a cluster is taken down again
            self._end()
            raise

    def alive(self) -> bool:
        """Whether the servers run without which no task begins."""
        try:
            return all(process.status() != psutil.STATUS_ZOMBIE for process in self._servers)
        except psutil.NoSuchProcess:
            return False

    def close(self) -> None:
        """End every process of the cluster, and remove its folder."""
        self._end()

    def _end(self) -> None:
        mine = list(self._processes())
        if self._connecting:
            import ray

            ray.shutdown()
        if self._head is not None:
            self._head.close()
        mine += self._processes()  # what began meanwhile
        for process in mine:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(mine, timeout=GRACE)
        shutil.rmtree(self._root, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._lock.release()

    def _processes(self) -> Iterator[psutil.Process]:
        """Ray's servers, its workers and what these started, wherever in the tree they are by now."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # of another user, or just gone
                if process.environ().get(MARK) == str(self._root):
                    yield process


def _tried(address: str, loopback: bool) -> None:
    """Connect in another process first. Raises RayError: Ray would end this one, or wait for minutes."""
    first = Beside({"address": address}, {}, loopback=loopback, stay=False)
    try:
        first.address(JOINING)
    finally:
        first.close()


def _refused(address: str, error: Exception) -> str:
    """What to do about a cluster that does not take us."""
    told = str(error).strip().partition("\n")[0]
    whole = error.whole if isinstance(error, RayError) else str(error)
    if any(word in whole.lower() for word in UNAUTHORIZED):
        wanted = "set RAY_AUTH_MODE=token, and its token in RAY_AUTH_TOKEN (or a file's path in RAY_AUTH_TOKEN_PATH)"
        given = [name for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if os.environ.get(name)]
        sent = given and os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
        what = f"wants another token than that of {given[0]}" if sent else "wants a token"
        return f"the Ray cluster at {address!r} {what}: {wanted}: {told.partition('. ')[0]}"
    return f"no Ray cluster at {address!r}: {told or type(error).__name__}; take --executor local to do without"


def _reach(address: str) -> None:
    """Raise OSError or ValueError where nobody listens; Ray itself would end the program after a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT).close()


def _auth() -> dict[str, str]:
    """The mode that newer releases take for a cluster of one's own anyway, and are to be told of to connect to it."""
    return {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token")}


def _read_again() -> None:
    """Let Ray, where the program has imported it already, see the mode."""
    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("ray._raylet").Config.initialize("")


@contextlib.contextmanager
def _kept_on_loopback(address: str) -> Iterator[bool]:
    """Whether 127.0.0.1 is to be kept: Ray takes another of this machine's addresses, where nobody may listen."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or host.strip("[]") not in ("127.0.0.1", "localhost", "::1"):
        yield False
        return
    other = importlib.import_module("ray.util").get_node_ip_address()
    if other != host.strip("[]") and _listens(f"{other}:{port}"):
        yield False
        return
    with _environment({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}), _loopback():
        yield True


def _listens(address: str) -> bool:
    try:
        _reach(address)
    except OSError:
        return False
    return True


def _folder() -> tuple[Path, BaseFileLock]:
    """A new folder and the lock on it, held for as long as this process lives."""
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > LONGEST_BASE:
        base = Path("/tmp")
    _sweep(base)
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=base))
    lock = try_lock(made / LOCK)
    assert lock is not None  # nobody else knows the folder
    # Only now under the name that others sweep: a folder there whose lock nobody holds is dead.
    return made.rename(base / made.name.removeprefix(".")), lock


def _sweep(base: Path) -> None:
    """Remove the folders of drivers that were killed."""
    for folder in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if (folder / LOCK).exists() and (lock := try_lock(folder / LOCK)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                lock.release()


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Without this Ray swaps 127.0.0.1 for an address that others can reach (except on macOS, Windows).

    Its switch is an environment variable, and a constant where the program has imported ray already.
    """
    from ray._private import ray_constants

    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep the handler of SIGTERM and `breakpoint()` as they are: Ray puts its own in place of both."""
    handler, debugger = signal.getsignal(signal.SIGTERM), os.environ.get("PYTHONBREAKPOINT")
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)
        os.environ.pop("PYTHONBREAKPOINT", None)
        if debugger is not None:
            os.environ["PYTHONBREAKPOINT"] = debugger
