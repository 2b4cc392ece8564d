"""Ray clusters of several nodes, each a process of `ray start`, which can be taken away."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from waiting_for_tests import PATIENCE, until

HERE = Path(__file__).parent
TRIES = 4  # times that a node is started


class Cluster:
    """`ray start`, a process a node, each with one CPU and a resource that names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
        own = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        self.environment = {**os.environ, **own, "PYTHONPATH": path}
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, before: str = "", **variables: str) -> None:
        """Start a node, after a line of shell in a mount namespace of its own."""
        head = f"--head --port {self.port} --temp-dir {self.folder} --include-dashboard false"
        place = head if not self.nodes else f"--address 127.0.0.1:{self.port}"
        ray = f"{sys.executable} -m ray.scripts.scripts start {place} --num-cpus 1 --block"
        ray += f" --object-store-memory 80000000 --resources '{{\"name_{name}\": 1}}'"
        script = f"{before + ' && ' if before else ''}exec {ray}"
        command = ["unshare", "-m", "sh", "-c", script] if before else ["sh", "-c", script]
        for _ in range(TRIES):
            if self._started(name, command, variables):
                return
        raise AssertionError((self.folder / f"{name}.log").read_text()[-2000:])

    def _started(self, name: str, command: list[str], variables: dict[str, str]) -> bool:
        """Start it, and return whether it came: Ray gives a node 30 s, which on a busy machine is too short."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            self.nodes[name] = subprocess.Popen(
                command,
                env={**self.environment, **variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        node = self.nodes[name]

        def decided() -> bool:
            return b"Ray runtime started" in log.read_bytes() or node.poll() is not None

        until(decided, PATIENCE, f"node {name} does not start")  # one after the other: they reach for the same ports
        if node.poll() is None:
            return True
        self.kill(name)
        return False

    def kill(self, name: str) -> None:
        """Take a node away."""
        node = self.nodes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()


@contextlib.contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """Give a cluster without nodes; end what was started of it."""
    folder = Path(tempfile.mkdtemp(prefix="n", dir="/tmp"))
    made = Cluster(folder)
    try:
        yield made
    finally:
        for name in list(made.nodes):
            made.kill(name)
        shutil.rmtree(folder, ignore_errors=True)
