"""A Ray cluster of one machine that lives and dies with this process.

It listens on the loopback interface only, behind a token of its own. Its files lie in a folder of
its own, not in /tmp/ray, which belongs to whoever came first and which other drivers search for a
cluster to join. What a killed driver left there is swept away by the next start; its processes are
ended by the kernel, because Ray ties them to the thread that started them: so `start` belongs into
the main thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

PREFIX = "ablate-ray-"
OBJECT_STORE = 100_000_000  # bytes; jobs and reports are short strings (Ray's least is 75 MB)
LONGEST_BASE = 24  # a socket's path may have 107 bytes, and Ray appends some 70 to ours
GRACE = 5.0  # seconds that processes get to end by themselves

_TOKEN = secrets.token_hex(32)  # one a process: Ray reads it once
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # see _loopback
    "RAY_AUTH_TOKEN": _TOKEN,  # else a token is written into the user's home
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a FutureWarning
}


class Cluster:
    """Started by its constructor. slots: tasks of one CPU at once; threads: of OpenMP in each worker."""

    def __init__(self, slots: int, gpus: int, threads: int) -> None:
        self._root, self._lock = _folder()
        try:
            environment = {**_ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}
            with _environment(environment), _loopback(), _same_sigterm():
                import ray

                ray.init(
                    address="local",
                    num_cpus=slots,
                    num_gpus=gpus,
                    object_store_memory=OBJECT_STORE,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=str(self._root),
                )
        except BaseException:  # Ctrl-C too: half a cluster is taken down again
            self.close()
            raise

    def close(self) -> None:
        """End every process of the cluster, and remove its folder."""
        import ray

        mine = list(self._processes())
        ray.shutdown()
        _, alive = psutil.wait_procs(mine, timeout=GRACE)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self._root, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._lock)

    def _processes(self) -> Iterator[psutil.Process]:
        """Ray's servers, known by our folder in their command lines, and the workers below them."""
        for process in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if any(str(self._root) in word for word in process.cmdline()):
                    yield from (process, *process.children(recursive=True))


def _folder() -> tuple[Path, int]:
    """A new folder and the handle that locks it for as long as this process lives."""
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > LONGEST_BASE:
        base = Path("/tmp")
    _sweep(base)
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=base))
    lock = os.open(made, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Only now under the name that others sweep: a folder there without a lock is dead.
    return made.rename(base / made.name.removeprefix(".")), lock


def _sweep(base: Path) -> None:
    """Remove the folders of drivers that were killed."""
    for folder in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


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
def _same_sigterm() -> Iterator[None]:
    """Ray installs a handler of its own for SIGTERM; the program's stays."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)
