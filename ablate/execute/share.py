"""Resources: how many workers fit on a machine, and the CPUs and GPUs that each of them gets."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from ablate.errors import InputError

MEMORY_PER_WORKER = 2 << 30  # bytes: torch, a small model and its data


@dataclass(frozen=True)
class Resources:
    """The CPUs, GPUs and memory that workers share."""

    cpus: int
    gpus: int = 0
    memory: int | None = None  # bytes; None: unknown, as on a cluster


@dataclass(frozen=True)
class Share:
    """How many workers there are, and what one of them gets."""

    workers: int
    cpus: int
    gpus: float = 0.0


def share(resources: Resources, workers: int | None, cpus: int | None, gpus: float | None, device: str) -> Share:
    """Return how many workers there are and what each gets; None stands for what is to be filled in.

    On the CPU each worker gets one core unless `workers` or `cpus` says otherwise: small models train
    faster side by side than on many threads. On a GPU each worker gets one, or an equal fraction
    where there are more workers than GPUs. Raises InputError where not even one worker fits.
    """
    if device != "cuda":
        if workers is None and device == "mps":
            workers = 1  # there is one, and its memory is the machine's
        if workers is None:
            by_memory = math.inf if resources.memory is None else resources.memory // MEMORY_PER_WORKER
            workers = int(max(1, min(resources.cpus // (cpus or 1), by_memory)))
        return Share(workers, cpus or max(1, resources.cpus // workers))
    if gpus is None:
        per_gpu = max(1, math.ceil((workers or 1) / max(1, resources.gpus)))
        gpus = math.floor(10_000 / per_gpu) / 10_000  # Ray counts in steps of 1e-4
    most = resources.gpus * math.floor(1 / gpus + 1e-9) if gpus <= 1 else int(resources.gpus // gpus)
    if most < 1:
        problem = f"a worker asks for {gpus:g} GPUs, and there are {resources.gpus}"
        raise InputError(f"{problem}: lower `gpus` of the executor")
    workers = min(workers or most, most)
    return Share(workers, cpus or max(1, resources.cpus // workers), gpus)


def machine(device: str) -> Resources:
    """Return what this process may use of this machine. Imports torch where the device is `cuda`."""
    gpus = 0
    if device == "cuda":
        import torch

        gpus = torch.cuda.device_count()
    return Resources(cores(), gpus, psutil.virtual_memory().available)


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many CPU cores this process may use: its affinity, and a container's quota (cgroup v2)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        return count if allowed == "max" else max(1, min(count, int(allowed) // int(period)))
    except (OSError, ValueError):
        return count
