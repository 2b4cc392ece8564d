"""Where the time of a training step goes: torch's profiler over a few steps, in numbers that say what to do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MOST_OPERATORS = 10
WARM_UP = 2  # steps before anything is measured: kernels are chosen, the optimizer's state is made
TIMED, PROFILED_AT_MOST = 3, 50  # steps: timed at least without the profiler; looked at by it at most
COPIES = ("copy", "memcpy", "to_copy")
STEP = "ablate: step"


@dataclass(frozen=True)
class OperatorTime:
    """What an operator (on a GPU: a kernel) takes of a step. seconds: its own, without what it calls."""

    name: str
    calls: float  # a step
    seconds: float  # a step
    share: float  # of all operators' own time


@dataclass(frozen=True)
class StepProfile:
    """The profile of a training step.

    busy: share of a step's time in [0, 1] in which the device computes: on a GPU the union of its kernels' times over
    the time of a step without the profiler; on the CPU the share of a profiled step inside of torch's operators.
    launches: on a GPU kernels and copies, on the CPU operators that call no other one.
    """

    device: str
    steps: int  # that the profiler saw
    step_seconds: float  # median, without the profiler
    profiled_seconds: float  # mean, with it
    busy: float
    launches: float  # a step
    operators: tuple[OperatorTime, ...]  # the dearest first
    copies: float  # share of all operators' own time


def profile_steps(step: Callable[[], object], device: torch.device, steps: int, trace: Path | None) -> StepProfile:
    """Profile a training step. trace: a file for the profiler's trace (Chrome's format; chrome://tracing, Perfetto)."""
    for _ in range(WARM_UP):
        step()
    seconds = [_timed(step, device) for _ in range(max(TIMED, steps))]
    seen = min(steps, PROFILED_AT_MOST)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        begun = time.perf_counter()
        for _ in range(seen):
            with torch.profiler.record_function(STEP):
                step()
        _wait(device)
        profiled = (time.perf_counter() - begun) / seen
    if trace is not None:
        profiler.export_chrome_trace(str(trace))
    return _summary(profiler, device, seen, statistics.median(seconds), profiled)


def _summary(profiler: Any, device: torch.device, steps: int, plain: float, profiled: float) -> StepProfile:
    events = [event for event in profiler.events() if not _is_ours(event.name)]
    if device.type == "cuda":
        work = [event for event in events if _is_on(event, "CUDA")]
        busy = union((e.time_range.start, e.time_range.end) for e in work) * 1e-6 / steps / plain
    else:
        work = [event for event in events if _is_on(event, "CPU")]
        busy = union((e.time_range.start, e.time_range.end) for e in work) * 1e-6 / steps / profiled
        work = [event for event in work if not event.cpu_children]
    own = [event for event in profiler.key_averages() if not _is_ours(event.key)]
    name = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    if device.type == "cuda":
        own = [event for event in own if _is_on(event, "CUDA")]
    total = sum(getattr(event, name) for event in own) or 1.0
    own.sort(key=lambda event: getattr(event, name), reverse=True)
    operators = tuple(
        OperatorTime(e.key, e.count / steps, getattr(e, name) * 1e-6 / steps, getattr(e, name) / total)
        for e in own[:MOST_OPERATORS]
    )
    copies = sum(getattr(e, name) for e in own if any(word in e.key.lower() for word in COPIES)) / total
    return StepProfile(device.type, steps, plain, profiled, min(1.0, busy), len(work) / steps, operators, copies)


def union(intervals: Iterable[Sequence[float]]) -> float:
    """Return the length of what intervals cover together, in their unit."""
    total, end = 0.0, float("-inf")
    for first, last in sorted((float(a), float(b)) for a, b in intervals):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def _is_on(event: Any, device: str) -> bool:
    return bool(event.device_type.name == device)


def _is_ours(name: str) -> bool:
    """Return whether an event is a frame around steps, and no operator: such as the optimizer's, which holds others."""
    return name.startswith((STEP, "Optimizer.", "ProfilerStep", "Activity Buffer"))


def _timed(step: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    begun = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
