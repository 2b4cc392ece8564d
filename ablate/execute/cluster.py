"""Ray clusters: what a connection is, and one to a cluster that exists already.

Whatever connects is tried in a process beside this one first, as Ray's native code ends the process in which something
fails. A cluster of this machine's own is in `ablate.execute.own_cluster`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from ablate.errors import InputError
from ablate.execute.beside import UNAUTHORIZED, Beside, RayError
from ablate.execute.ray_environment import environment, loopback, same_handlers

LOOK = 5.0  # seconds between two looks whether a cluster's head still listens
SILENCE = 25.0  # seconds without an answer: after 60 Ray ends the program that is connected
CONNECT = 10.0  # seconds to reach a cluster
QUIET = {
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # Ray's remarks between our lines: what is lost, a report says
    # Ray's native code ends a program whose head is gone, after 60 s and with a dump of its stack: `alive` is earlier.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",
}
JOINING = 60.0  # seconds in which Ray has to have connected to a cluster that listens


class Cluster(ABC):
    """A connection of this process to Ray. Raises InputError where that fails by the user's settings."""

    def alive(self) -> bool:
        """Return whether jobs can still end. If not: `close`, make another."""
        return True

    def answers(self) -> bool:
        """Return whether it may be asked now: a head that is away would be waited for."""
        return True

    @abstractmethod
    def close(self) -> None:
        """Leave, or end, the cluster."""


class Joined(Cluster):
    """A cluster that exists already: at an address, or the one that this program itself is connected to (None)."""

    def __init__(
        self, address: str | None, source: str | None = None, runtime_env: dict[str, Any] | None = None
    ) -> None:
        """Connect. source: the setting that has the address, for the message where no cluster is there."""
        with environment(QUIET), same_handlers():
            import ray

        self._leave = address is not None
        self._last_answer = self._last_look = time.monotonic()
        if address is not None:
            try:
                _reach(address)
                with environment(QUIET), _loopback_for(address) as loopback_kept, same_handlers():
                    _try_in_another_process(address, loopback_kept)
                    more: Any = {} if runtime_env is None else {"runtime_env": runtime_env}
                    ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **more)
            except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                raise InputError(_refusal(address, error), source) from error
        self._address = address if address and "://" in address else str(ray.get_runtime_context().gcs_address)

    def alive(self) -> bool:
        """Return True; raise InputError where the head is gone for good: Ray would end this program a little later."""
        now = time.monotonic()
        if now - self._last_look >= LOOK:
            self._last_look = now
            try:
                _reach(self._address)
                self._last_answer = now
            except (OSError, ValueError) as error:
                if now - self._last_answer >= SILENCE:
                    problem = f"the Ray cluster at {self._address} does not answer any more ({error})"
                    advice = "start its head and give the same command again, or add --executor local"
                    raise InputError(f"{problem}; {advice}: it goes on from what is there") from error
        return True

    def answers(self) -> bool:
        """Return whether the head listened when it was last looked at."""
        return self._last_answer >= self._last_look

    def close(self) -> None:
        """Disconnect, where the connection is ours."""
        import ray

        if self._leave:
            ray.shutdown()


def _try_in_another_process(address: str, loopback_kept: bool) -> None:
    """Connect in another process first. Raises RayError, where Ray would end this process, or wait for minutes."""
    process = Beside({"address": address}, {}, loopback=loopback_kept, stay=False)
    try:
        process.address(JOINING)
    finally:
        process.close()


def _refusal(address: str, error: Exception) -> str:
    """Return a message: why a cluster refused the connection, and what to do."""
    reason = str(error).strip().partition("\n")[0]
    output = error.output if isinstance(error, RayError) else str(error)
    if any(word in output.lower() for word in UNAUTHORIZED):
        advice = "set RAY_AUTH_MODE=token, and its token in RAY_AUTH_TOKEN (or a file's path in RAY_AUTH_TOKEN_PATH)"
        tokens = [name for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if os.environ.get(name)]
        sent = tokens and os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
        problem = f"wants another token than that of {tokens[0]}" if sent else "wants a token"
        return f"the Ray cluster at {address!r} {problem}: {advice}: {reason.partition('. ')[0]}"
    return f"no Ray cluster at {address!r}: {reason or type(error).__name__}; take --executor local to do without"


def _reach(address: str) -> None:
    """Raise OSError or ValueError where nobody listens; Ray itself would end the program after a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT).close()


@contextlib.contextmanager
def _loopback_for(address: str) -> Iterator[bool]:
    """Keep 127.0.0.1 where the address needs it, and give whether it does.

    Ray takes another of this machine's addresses, where nobody may listen.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit() or host.strip("[]") not in ("127.0.0.1", "localhost", "::1"):
        yield False
        return
    other = importlib.import_module("ray.util").get_node_ip_address()
    if other != host.strip("[]") and _listens(f"{other}:{port}"):
        yield False
        return
    with environment({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}), loopback():
        yield True


def _listens(address: str) -> bool:
    try:
        _reach(address)
    except OSError:
        return False
    return True
