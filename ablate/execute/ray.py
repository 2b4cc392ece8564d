"""The executor `ray`: many jobs at once, on this machine or on a cluster.

Jobs are Ray core tasks from JSON text to JSON text. A worker process runs one job after another; the
engine retries, Ray does not.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator

from ablate.errors import InputError
from ablate.execute import memory_limit
from ablate.execute import work as jobs
from ablate.execute.nodes import Nodes
from ablate.execute.pool import QueuePool
from ablate.execute.ray_workers_env import RuntimeEnv, Variables, runtime_env_of
from ablate.execute.share import Resources, Share, machine, share
from ablate.execute.work import stop_file
from ablate.kinds.executor import Executor, Pool, Report
from ablate.spec.component import Extent

if TYPE_CHECKING:
    from ablate.execute.cluster import Cluster

GRACE = 30.0  # seconds that running jobs get to reach their next step and to write a checkpoint


class Ray(Executor):
    """Ray, started by itself on this machine, or joined at `address` (or `RAY_ADDRESS`) where that is set.

    The nodes of a cluster need the same packages and the study's folder under the same path.
    """

    name = "ray"
    preference: ClassVar[int] = 10

    address: Annotated[str | None, Extent()] = None  # host:port, auto or ray://host:port; None: RAY_ADDRESS
    cpus: Annotated[int | None, Field(ge=1, le=1024), Extent()] = None  # a worker; None: cores // workers
    gpus: Annotated[float | None, Field(ge=0.001, le=64), Extent()] = None  # a worker; None: 1, or as `workers` asks

    env: Annotated[Variables, Extent()] = ()  # {NAME: value} of the workers' environment; null: the driver's own value
    runtime_env: Annotated[RuntimeEnv, Extent()] = "{}"  # Ray's own: {pip: [...], working_dir: ...}

    _study: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _whole_gpus(self) -> Self:
        if self.gpus is not None and self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"a worker has a fraction of one GPU or several whole ones, not {self.gpus:g}")
        return self

    @classmethod
    def available(cls) -> bool:
        """Whether Ray is installed."""
        return importlib.util.find_spec("ray") is not None

    def in_folder(self, folder: Path) -> Self:
        """Return the executor for a study's folder, which every node has to see."""
        placed = self.model_copy()
        placed._study = folder
        return placed

    def start(self, work: str, device: str) -> Pool:
        """Start workers on this machine or on the cluster. To be called in the main thread."""
        if not self.available():
            raise InputError("the executor 'ray' needs Ray: pip install 'ablate[ray]', or use the executor 'local'")
        from ablate.execute.cluster import Joined
        from ablate.execute.own_cluster import Own

        address = self.address or os.environ.get("RAY_ADDRESS")
        source = None if self.address else "RAY_ADDRESS"
        if address is not None and not address.strip():
            raise InputError("is empty: unset it, or say host:port", "RAY_ADDRESS")
        runtime_env = runtime_env_of(self.env, self.runtime_env)
        if "ray" in sys.modules and _ray().is_initialized():
            return self._on(Joined(None), work, device, runtime_env)
        if address not in (None, "local"):
            return self._on(Joined(address, source, runtime_env), work, device)
        resources = machine(device)
        each = share(resources, self.workers, self.cpus, self.gpus, device)
        # On a cluster of our own one CPU stands for one worker, whatever it gets.
        own = partial(Own, each.workers, resources.gpus, each.cpus, runtime_env)
        return RayPool(work, each, 1, own, self.memory)

    def _on(self, cluster: Cluster, work: str, device: str, runtime_env: dict[str, Any] | None = None) -> Pool:
        """Start workers on a cluster that is connected. runtime_env: of the tasks, where the connection has none."""
        try:
            total = _ray().cluster_resources()
            resources = Resources(int(total.get("CPU", 0)), int(total.get("GPU", 0)))
            each = share(resources, self.workers, self.cpus, self.gpus, device)
            if each.cpus > resources.cpus:
                raise InputError(f"a worker asks for {each.cpus} CPUs, and the cluster has {resources.cpus}")
            nodes = Nodes(each, self.workers, self._study, runtime_env)
            return RayPool(work, each, each.cpus, lambda: cluster, self.memory, nodes, runtime_env)
        except BaseException:
            cluster.close()
            raise


class RayPool(QueuePool):
    """Submits jobs as tasks; their ends come in by callback.

    cpus: what Ray counts for one task; cluster: connects to Ray, again should the cluster die. memory: bytes that a
    job may have resident. nodes: of a cluster that was joined, whose slots follow them. runtime_env: of the tasks.
    """

    apart = True

    def __init__(
        self,
        work: str,
        each: Share,
        cpus: int,
        cluster: Callable[[], Cluster],
        memory: int | None = None,
        nodes: Nodes | None = None,
        runtime_env: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(each.workers, each.cpus)
        self._connect = cluster
        self._cluster = cluster()
        # max_calls=0: also a worker with a GPU serves many jobs, as importing torch takes seconds.
        options = {} if runtime_env is None else {"runtime_env": runtime_env}
        task = _ray().remote(num_cpus=cpus, num_gpus=each.gpus, max_retries=0, max_calls=0, **options)
        self._task = task(_task(work, list(sys.path), memory))
        self._nodes = nodes
        self._placed: dict[str, str] = {}  # the node of each job that runs, where they are placed
        self._texts: dict[str, str] = {}  # of these
        self._unplaced: set[str] = set()  # of these: whose node was gone before they began
        if nodes is not None:
            self.slots = nodes.slots
        self._folders: dict[str, Path] = {}  # of the jobs that a stop file can stop
        self._tasks: dict[str, Any] = {}  # object references of what runs; who takes one out reports on it
        # On a cluster of our own all workers import at once what jobs need, not each for its own first trial.
        ready = _ray().remote(num_cpus=cpus, num_gpus=each.gpus, max_retries=0, max_calls=0, **options)
        own = each.workers if nodes is None else 0
        self._readying = [ready(_readying(work, list(sys.path))).remote() for _ in range(own)]

    def wait(self, timeout: float) -> list[Report]:
        """See `Pool.wait`. A cluster of our own that died is started again; its jobs are lost."""
        reports = self._released(super().wait(timeout))
        if self._nodes is not None and self._cluster.alive() and self._cluster.answers():
            self._nodes.look()
            self.slots = self._nodes.slots
        if reports or not self._tasks or self._cluster.alive():
            return reports
        for name in list(self._tasks):
            if self._tasks.pop(name, None) is not None:
                self._ended.put(jobs.lost(name, "the Ray cluster on this machine died, with all its workers"))
        self._cluster.close()
        self._cluster = self._connect()
        return super().wait(0)

    def news(self) -> list[str]:
        """Return what there is to say of nodes."""
        if self._nodes is None:
            return []
        lines, self._nodes.news = self._nodes.news, []
        return lines

    def _released(self, reports: list[Report]) -> list[Report]:
        """Return reports as they are, but for those that a node is to blame for: it gets no more, the job is lost.

        A job whose node was gone before it began is given to another one.
        """
        found: list[Report] = []
        for report in reports:
            name = report["job"]
            node, text = self._placed.pop(name, None), self._texts.pop(name, "")
            if node is not None and self._nodes is not None:
                self._nodes.release(node)
                if name in self._unplaced:
                    self._unplaced.discard(name)
                    self._nodes.leave(node)
                    self._begin(name, text)
                    self._running.add(name)
                    continue
                if {"other_source", "other_data"} & set(report) and self._nodes.pass_over(node, report["message"]):
                    report = json.loads(jobs.lost(name, f"its node is passed over: {report['message']}"))
            found.append(report)
        return found

    def _begin(self, name: str, job: str) -> None:
        task = self._task
        if self._nodes is not None:
            self._nodes.ask(json.loads(job))
            self._placed[name], self._texts[name] = self._nodes.place(), job
            strategies = importlib.import_module("ray.util.scheduling_strategies")
            on = strategies.NodeAffinitySchedulingStrategy(self._placed[name], soft=False)
            task = task.options(scheduling_strategy=on)
        if (folder := json.loads(job).get("folder")) is not None:
            self._folders[name] = Path(folder)
            with contextlib.suppress(OSError):
                stop_file(folder).unlink()  # of a driver that was killed while it stopped
        reference = task.remote(job)
        self._tasks[name] = reference
        reference.future().add_done_callback(partial(self._ended_with, name, reference))

    def _ended_with(self, name: str, reference: Any, future: Future[str]) -> None:
        """Called in one of Ray's threads."""
        from ray.exceptions import (
            OutOfMemoryError,
            RayTaskError,
            RuntimeEnvSetupError,
            TaskUnschedulableError,
            WorkerCrashedError,
        )

        if self._tasks.get(name) is not reference or self._tasks.pop(name, None) is None:
            return  # reported as lost
        error = future.exception()
        if error is None:
            self._ended.put(future.result())
        elif isinstance(error, OutOfMemoryError):
            self._ended.put(jobs.oom(name, str(error)))
        elif (why := memory_limit.noted(self._folders.get(name))) is not None:
            self._ended.put(jobs.oom(name, why))
        elif isinstance(error, RuntimeEnvSetupError):  # such as a package of `runtime_env` that cannot be had there
            reason = str(error).strip().partition("\n")[0]
            self._ended.put(jobs.failed(name, InputError(f"a node cannot set up executor.runtime_env: {reason}")))
        elif isinstance(error, RayTaskError):  # before the work function: the package is missing on a node
            self._ended.put(jobs.failed(name, error))
        elif isinstance(error, WorkerCrashedError):  # Ray's own text points to logs that go with the session
            self._ended.put(jobs.lost(name, "the worker process died: it was killed, or crashed in native code"))
        else:
            if isinstance(error, TaskUnschedulableError):
                self._unplaced.add(name)
            self._ended.put(jobs.lost(name, f"{type(error).__name__}: {error}"))

    def abandon(self, job: str, why: str) -> bool:
        """See `Pool.abandon`."""
        reference = self._tasks.pop(job, None)
        if reference is None:
            return False
        _ray().cancel(reference, force=True)
        self._ended.put(jobs.ended(job, why, ""))
        return True

    def _end(self) -> None:
        ray = _ray()
        files = {name: stop_file(folder) for name, folder in self._folders.items() if name in self._tasks}
        try:
            self._request_stop(files)
            for reference in list(self._tasks.values()):
                ray.cancel(reference, force=True)
        finally:
            if self._nodes is not None:
                self._nodes.end()
            self._cluster.close()
            for file in files.values():
                with contextlib.suppress(OSError):
                    file.unlink()

    def _request_stop(self, files: dict[str, Path]) -> None:
        """Write the stop files, and wait until the running jobs have written checkpoints, `GRACE` at the most."""
        if not files or not self._cluster.alive():
            return
        begun = {name for name, file in files.items() if file.parent.is_dir()}  # a worker has made its folder
        for name in begun:
            with contextlib.suppress(OSError):
                files[name].touch()
        end = time.monotonic() + GRACE
        while not begun.isdisjoint(self._tasks) and time.monotonic() < end:
            time.sleep(0.05)


def _ray() -> Any:
    """Import Ray when it is needed, and not before."""
    import ray

    return ray


def _readying(work: str, path: list[str]) -> Callable[[], None]:
    """Return what makes a worker ready: a closure, as that of `_task`. What is wrong is for the first job to report."""

    def get_ready() -> None:
        sys.path.extend(entry for entry in path if entry not in sys.path)
        with contextlib.suppress(Exception):
            module = importlib.import_module(work.partition(":")[0])
            if hasattr(module, "get_ready"):
                module.get_ready()

    return get_ready


def _task(work: str, path: list[str], memory: int | None) -> Callable[[str], str]:
    """Return what a worker runs: a closure, which travels by value, so that the driver's `sys.path` is there first."""

    def run(job: str) -> str:
        sys.path.extend(entry for entry in path if entry not in sys.path)
        from ablate.execute.memory_limit import watched
        from ablate.execute.work import call, stop_by_file, stop_by_sigterm

        with stop_by_sigterm() as signalled, watched(job, memory):
            ordered = stop_by_file(job)
            return call(work, job, lambda: signalled() or ordered())

    return run
