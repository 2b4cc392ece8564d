"""Faults of what lies outside of a driver's machine: an object store that does not answer, nodes that come and go."""

from __future__ import annotations

import os
import random
import time
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

from faults_judged import Fault, finish, first
from faulty_runs import Lab, Run
from object_server import ObjectServer, object_server
from ray_clusters import ray_cluster

from ablate.runtime.stored import readable


@lru_cache(maxsize=1)
def _server(process: int) -> ObjectServer:
    """Return an object store of this process's own, which ends with it."""
    running = object_server()
    _KEPT.append(running)
    return running.__enter__()


_KEPT: list[object] = []  # whose end would be the server's


def object_store(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """A store says 503 from one of its first 150 requests on, some times, with or without doing what it is asked."""
    server, url = _server(os.getpid()), f"s3://bucket/{out.name}"
    answers, after, at = rng.choice((1, 2, 4, 8, 16)), rng.random() < 0.5, rng.randrange(150)
    fault.what = f"{answers} times 503 {'after' if after else 'before'} it is done, from request {at} on"
    variables = {**server.variables, "ABLATE_STORES": str(out.parent / f"{out.name}-stores")}

    def run() -> Run:
        return Run(lab.file, out, fault.executor, lambda: os.environ.update(variables), to=url)

    def folder() -> Path:
        with patch.dict(os.environ, variables):
            return readable(url)

    server.fail(answers, after, at)
    first(fault, run().wait(), 0, 2)
    server.fail(0)
    finish(fault, lab, out, again=run, folder=folder)


def nodes(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """A cluster of Ray loses a node while a study runs on it, or gets another one."""
    lost, after = rng.random() < 0.5, rng.uniform(0, 4)
    fault.what = f"a node is {'lost' if lost else 'added'} after {after:.1f} s"
    with ray_cluster() as cluster:
        cluster.start("head")
        if lost:
            cluster.start("other")
        variables = {**cluster.environment, "RAY_ADDRESS": f"127.0.0.1:{cluster.port}"}
        run = Run(lab.file, out, "cluster", lambda: os.environ.update(variables))
        while not list(out.glob("trials/*/job.json")) and not run.ended():
            time.sleep(0.02)
        time.sleep(after)
        if lost:
            cluster.kill("other")
        else:
            cluster.start("other")
        first(fault, run.wait(), 0)
