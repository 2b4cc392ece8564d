"""A Ray cluster of this machine, which lives and dies with this process.

It listens on the loopback interface only, behind a token of its own. Its files lie in a folder of its own, not in
/tmp/ray, which belongs to whoever came first and which other drivers search for a cluster to join. What a killed driver
left there is swept away by the next start; its processes are ended by the kernel, because they are tied to the thread
that started them: so `start` belongs into the main thread.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from ablate.errors import InputError
from ablate.execute.beside import Beside
from ablate.execute.cluster import Cluster
from ablate.execute.ray_environment import environment, loopback, same_handlers
from ablate.io.locks import try_lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

PREFIX = "ablate-ray-"
LOCK = ".lock"  # in the folder
MARK = "ABLATE_RAY"  # environment variable by which the cluster's processes are known
OBJECT_STORE = 100_000_000  # bytes; jobs and reports are short strings (Ray's least is 75 MB)
LONGEST_BASE = 24  # a socket's path may have 107 bytes, and Ray appends some 70 to ours
STARTING = 180.0  # seconds in which the cluster has to have started
GRACE = 5.0  # seconds in which processes that were killed are gone

_TOKEN = secrets.token_hex(32)  # one a process: Ray reads it once
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # see `loopback`
    "RAY_AUTH_TOKEN": _TOKEN,  # else a token is written into the user's home
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # Ray's remarks between our lines: what is lost, a report says
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a FutureWarning
}


class Own(Cluster):
    """A cluster of this machine alone.

    slots: tasks of one CPU at once; threads: of OpenMP in each worker. runtime_env: Ray's, of the workers.
    """

    def __init__(self, slots: int, gpus: int, threads: int, runtime_env: dict[str, Any] | None = None) -> None:
        self._runtime_env = runtime_env
        try:
            self._begin(slots, gpus, threads)
        except (RuntimeError, ValueError, OSError):  # on a busy machine its servers may be late
            try:
                self._begin(slots, gpus, threads)
            except (RuntimeError, ValueError, OSError) as error:
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                advice = "is it busy, or short of memory or disk? Try again, or take --executor local"
                raise InputError(f"Ray does not start on this machine ({reason}); {advice}") from error

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
            with environment({**_ENVIRONMENT, **_auth()}), loopback(), same_handlers():
                import ray  # takes seconds, while the servers start

                address = self._head.address(STARTING)
                _reload_mode()
                self._connecting = True
                more: Any = {} if self._runtime_env is None else {"runtime_env": self._runtime_env}
                ray.init(
                    address=address,
                    _node_ip_address="127.0.0.1",
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    **more,
                )
            children = psutil.Process(self._head.pid).children()
            self._servers = [p for p in children if p.name() in ("raylet", "gcs_server")]
        except BaseException:  # Ctrl-C too: half a cluster is taken down again
            self._end()
            raise

    def alive(self) -> bool:
        """Return whether the servers run without which no task begins."""
        try:
            return all(process.status() != psutil.STATUS_ZOMBIE for process in self._servers)
        except psutil.NoSuchProcess:
            return False

    def close(self) -> None:
        """End every process of the cluster, and remove its folder."""
        self._end()

    def _end(self) -> None:
        processes = list(self._processes())
        if self._connecting:
            import ray

            ray.shutdown()
        if self._head is not None:
            self._head.close()
        processes += self._processes()  # what began meanwhile
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=GRACE)
        shutil.rmtree(self._root, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._lock.release()

    def _processes(self) -> Iterator[psutil.Process]:
        """Yield Ray's servers, its workers and what these started, wherever in the process tree they are by now."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # of another user, or just gone
                if process.environ().get(MARK) == str(self._root):
                    yield process


def _auth() -> dict[str, str]:
    """Return the setting of Ray's authentication mode: newer releases start a cluster with tokens anyway."""
    return {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token")}


def _reload_mode() -> None:
    """Let Ray read the authentication mode again, where the program has imported it already."""
    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("ray._raylet").Config.initialize("")


def _folder() -> tuple[Path, BaseFileLock]:
    """Create a folder, and lock it for as long as this process lives."""
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > LONGEST_BASE:
        base = Path("/tmp")
    _sweep(base)
    hidden = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=base))
    lock = try_lock(hidden / LOCK)
    assert lock is not None  # nobody else knows the folder
    # Only now under the name that others sweep: a folder there whose lock nobody holds is dead.
    return hidden.rename(base / hidden.name.removeprefix(".")), lock


def _sweep(base: Path) -> None:
    """Remove the folders of drivers that were killed."""
    for folder in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if (folder / LOCK).exists() and (lock := try_lock(folder / LOCK)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                lock.release()
