"""Processes that share the steps of one trial: how the worker starts them, and what they do.

The worker is the first of them. It alone draws curves, writes checkpoints, samples and measures; the others build the
same learner, begin with its state, and take each step that it takes. All of them are on one machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ablate.candidates.candidate import Candidate, compose
from ablate.errors import InputError
from ablate.io.files import read_json, write_json
from ablate.io.sealed import read_sealed
from ablate.kinds.data import image_setting
from ablate.runtime.memory import out_of_memory
from ablate.runtime.parent import end_with
from ablate.spec.explain import exception_summary
from ablate.training.checkpoint import newest, save
from ablate.training.group import Group, Order
from ablate.training.learner import Learner
from ablate.training.loop import Training
from ablate.training.placement import Whole, join
from ablate.worker import sources
from ablate.worker.loading import data_of, dataset_for, images_of
from ablate.worker.messages import TrialJob, trial_job
from ablate.worker.teacher_weights import trained_weights

STATE = ".ranks"  # folder of the trial with the state that the others begin with, and with how they failed
PATIENCE = timedelta(days=7)  # the others wait while the first one measures
STEP_PATIENCE = timedelta(minutes=10)  # for a sum of gradients on GPUs, where NCCL does not notice who is gone
GRACE = 10.0  # seconds in which a process that fails says why, and in which the others end
LOOK = 0.05  # seconds
CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ablate.worker.ranks import main; main(*sys.argv[2:])"
)


class RankLostError(RuntimeError):
    """A process that shares a trial's steps is gone."""


class RankFailedError(RuntimeError):
    """A process that shares a trial's steps failed, with an exception of its own."""


def refuse_devices(
    candidate: Candidate, device: torch.device, lent: float | None = None, probes: bool = False
) -> str | None:
    """Return why there cannot be so many devices for a trial, and what to do; None where there can.

    lent: how many GPUs its worker gets; None: all of this machine's. probes: whether something looks on.
    """
    size = candidate.devices
    if size == 1:
        return None
    if candidate.is_sharded and probes:
        return (
            "layout: fsdp shards the network's weights, and probes look at weights and gradients in one process, which "
            "has a part of each; leave one of them out"
        )
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        return f"devices: {size} of one trial are GPUs of CUDA, or processes on the CPU, and not {device.type}"
    there = torch.cuda.device_count() if lent is None else int(lent)
    if size <= there:
        return None
    what = f"devices: {size} are asked for, and a trial has {there} here"
    return f"{what}: lower `devices`, or give a worker more GPUs (`gpus` of the executor)"


@contextlib.contextmanager
def with_ranks(job: TrialJob, training: Training) -> Iterator[None]:
    """Let other processes share the steps of a training within a `with`, as its candidate says; none where it says 1.

    Raises RankLostError or RankFailedError where one of them ends before the training, and InputError where there are
    fewer devices. Who diagnoses a divergence meanwhile does that alone, with a learner of his own.
    """
    candidate, device = training.learner.candidate, training.learner.device
    size = candidate.devices
    if size == 1:
        yield
        return
    refusal = refuse_devices(candidate, device, probes=bool(training.probing.axes()))
    if refusal is not None:
        raise InputError(refusal)
    state = Path(job["folder"]) / STATE
    shutil.rmtree(state, ignore_errors=True)
    save(state, training.learner.state({"trial": Path(job["folder"]).name}))
    threads = torch.get_num_threads()
    with _Ranks(job, size, state) as ranks:
        try:
            group = ranks.join(training.pause, device)
            if device.type == "cpu":
                torch.set_num_threads(max(1, threads // size))
            group.compare(training.learner.parameters)
            for file in state.iterdir():  # all have read it
                file.unlink()
            join(training.learner, group)
            yield
            training.learner = training.whole_learner()
            group.order(Order.END)
        except Exception as error:
            ranks.explain(error)
            raise
        finally:
            training.learner.placement = Whole()
            torch.set_num_threads(threads)


class _Ranks:
    """The other processes, and the group of all."""

    def __init__(self, job: TrialJob, size: int, state: Path) -> None:
        self._size = size
        self._state = state
        self._job = job
        self._store = dist.TCPStore("127.0.0.1", 0, size, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> _Ranks:
        path = json.dumps([entry or os.getcwd() for entry in sys.path])  # noqa: PTH109 - what "" stands for
        folder = self._job["folder"]
        for rank in range(1, self._size):
            numbers = map(str, (rank, self._size, self._store.port, os.getpid()))
            command = [sys.executable, "-c", CODE, path, folder, *numbers]
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        return self

    def __exit__(self, *raised: object) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()
        end = time.monotonic() + (GRACE if raised[0] is None else 0)
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            process.kill()
            process.wait()
        shutil.rmtree(self._state, ignore_errors=True)

    def join(self, pause: Callable[[], None], device: torch.device) -> Group:
        """Wait until all have built what they train, and make the group."""
        ready = [f"ready/{rank}" for rank in range(1, self._size)]
        while not self._store.check(ready):
            if any(process.poll() is not None for process in self._processes):
                raise RankLostError  # explained by who calls
            pause()
            time.sleep(LOOK)
        return begin(self._store, 0, self._size, device)

    def explain(self, error: Exception) -> None:
        """Raise what is behind an exception, where one of the others has ended; return where none has."""
        if not isinstance(error, RuntimeError) or out_of_memory(error):
            return
        end = time.monotonic() + GRACE
        while all(process.poll() is None for process in self._processes):
            if not isinstance(error, RankLostError | dist.DistError) and "onnection" not in str(error):
                return  # an exception of its own
            if time.monotonic() > end:
                return
            time.sleep(LOOK)
        for rank, process in enumerate(self._processes, 1):
            code = process.poll()
            if code is None:
                continue
            who = f"process {rank + 1} of {self._size}, which share this trial's steps,"
            with contextlib.suppress(OSError, ValueError, KeyError):
                said = read_json(self._state / f"failed-{rank}.json")
                if said["oom"]:
                    raise torch.OutOfMemoryError(f"{who} ran out of memory: {said['message']}") from error
                raise RankFailedError(f"{who} failed: {said['message']}\n{said['traceback']}") from error
            how = f"was killed [{signal.Signals(-code).name}]" if code < 0 else f"ended with exit code {code}"
            raise RankLostError(f"{who} {how}") from error


def begin(store: Any, rank: int, size: int, device: torch.device) -> Group:
    """Join the group: gradients on GPUs go by NCCL, all else by gloo."""
    if device.type == "cpu":
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE)
        return Group(rank, size)
    dist.init_process_group("cpu:gloo,cuda:nccl", store=store, rank=rank, world_size=size, timeout=STEP_PATIENCE)
    return Group(rank, size, dist.new_group(backend="gloo", timeout=PATIENCE))


def main(folder: str, rank: str, size: str, port: str, leader: str) -> None:
    """Run one of the other processes; see CODE."""
    end_with(int(leader))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one's to heed
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    state = Path(folder) / STATE
    try:
        _follow(Path(folder), state, int(rank), int(size), int(port))
    except Exception as error:  # noqa: BLE001 - told by the first one
        said: dict[str, Any] = {"message": exception_summary(error), "traceback": traceback.format_exc()}
        with contextlib.suppress(OSError):
            write_json(state / f"failed-{rank}.json", {**said, "oom": out_of_memory(error)}, durable=False)
        os._exit(1)
    os._exit(0)


def _follow(folder: Path, state: Path, rank: int, size: int, port: int) -> None:
    job = trial_job(read_sealed(folder / "job.json"))
    if job["device"] == "cpu":
        torch.set_num_threads(max(1, int(job.get("threads") or torch.get_num_threads()) // size))
        device = torch.device("cpu")
    else:
        device = torch.device(job["device"], rank)
        torch.cuda.set_device(device)
    learner = learner_of(job, device)
    checkpoint = newest(state, str(learner.home))
    if checkpoint is None:
        raise RuntimeError("the state of the first process cannot be read")
    learner.load(checkpoint)
    learner.network.train()
    learner.placement = Whole(Group(rank, size))  # its share; nobody is joined yet
    learner.prepare(lambda: None)
    store = dist.TCPStore("127.0.0.1", port, size, is_master=False)  # type: ignore[attr-defined]
    store.set(f"ready/{rank}", "")
    group = begin(store, rank, size, device)
    group.compare(learner.parameters)
    join(learner, group)
    while True:
        order, budget = group.order(Order.STEP)
        if order is Order.END:
            return
        if order is Order.STATE:
            learner.state({})
        elif order is Order.SNAPSHOT:
            learner.snapshot()
        else:
            learner.step(budget)


def learner_of(job: TrialJob, device: torch.device) -> Learner:
    """Build the learner of a job, without its state."""
    catalog = sources.checked_catalog(job)
    candidate = compose(job["candidate"], catalog)
    data = data_of(job, catalog)
    setting = image_setting(data)
    dataset_for(job, data)
    images = images_of(data, job["cache"], device)
    beginning, teacher = trained_weights(job, candidate, setting, catalog, device)
    settled = (setting, images, job["seed"], device, job.get("micro"), teacher)
    return Learner(candidate, *settled, beginning=beginning, waits=candidate.is_sharded)
