"""How much memory a trial took at its peak, what of it was training, and whether it was too much."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

STEPS = 2  # that are measured on the CPU: the second finds the optimizer's state
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h
OWN_PAGES = 1 << 16  # bytes from which a block has pages of its own while memory is measured
USUAL = 1 << 25  # and otherwise: as much as the C library comes to by itself


class Gauge:
    """Measures the memory of one trial, as bytes allocated on a GPU or resident in this process on the CPU.

    On the CPU the training's share is what the process's resident peak rises in the first steps above its size
    just before. Every tensor then has pages of its own, so that neither what the C library keeps for later nor
    the holes between its blocks are counted: they depend on what this process has done before.
    Numbers are None where the system does not tell.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._base: int | None = None
        self._before: int | None = None  # the peak up to the training
        self._steps = 0
        self.training: int | None = None  # bytes that training took at its peak
        _reset(device)

    def begin_training(self) -> None:
        """What is there now is not counted as training's."""
        if self._device.type == "cpu":
            _warm_up()
            _own_pages(True)
        release_memory(self._device)
        self._before = _peak(self._device)
        _reset(self._device)
        self._base = _peak(self._device)

    def step_done(self) -> None:
        """A step of the training was taken: on the CPU, a few of them tell enough."""
        self._steps += 1
        if self._device.type == "cpu" and self._steps == STEPS:
            self._take()
            _own_pages(False)

    def end_training(self) -> None:
        """What comes from now on, such as sampling, is not counted as training's."""
        if self._device.type == "cpu" and self._steps < STEPS:
            _own_pages(False)
        if self._steps and (self.training is None or self._device.type != "cpu"):
            self._take()

    def _take(self) -> None:
        peak = _peak(self._device)
        self.training = None if peak is None or self._base is None else peak - self._base

    @property
    def peak(self) -> int | None:
        """Bytes at the trial's peak: the whole process on the CPU."""
        found = [value for value in (self._before, _peak(self._device)) if value is not None]
        return max(found, default=None)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory was not enough, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release_memory(device: torch.device) -> None:
    """Give back what torch or the C library keeps for later: others may need it now."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        return
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _own_pages(on: bool) -> None:
    """Give every block from 64 KiB pages of its own, or those of 32 MiB and above alone, as is usual."""
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, OWN_PAGES if on else USUAL)
        library.mallopt(M_TRIM_THRESHOLD, 2 * USUAL)


def _reset(device: torch.device) -> None:
    """Begin a new measurement: the peak falls to what is there now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the resident peak starts anew


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(peaks[0]) if peaks else None


@cache
def _warm_up() -> None:
    """Have the libraries load their code and start their threads, once a process: no training is charged for it.

    A step of a little network with the usual layers; torch's generator is left as it was.
    """
    generator = torch.random.get_rng_state()
    images = nn.Sequential(nn.Conv2d(4, 16, 3), nn.GroupNorm(2, 16), nn.SiLU(), nn.Conv2d(16, 16, 1), nn.Dropout(0.1))
    tokens = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 64), nn.GELU(approximate="tanh"), nn.Linear(64, 16))
    label = nn.Embedding(2, 16)
    optimizer = torch.optim.AdamW([*images.parameters(), *tokens.parameters(), *label.parameters()], fused=True)
    for _ in range(2):
        h = images(torch.randn(8, 4, 10, 10)).flatten(2).transpose(1, 2)  # (B, N, D)
        h = h + label(torch.zeros(8, dtype=torch.int64))[:, None]
        q = tokens(h)[:, None]
        h = torch.cat([h, F.scaled_dot_product_attention(q, q, q)[:, 0]], dim=1)
        (h.softmax(-1) * h).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    torch.random.set_rng_state(generator)
