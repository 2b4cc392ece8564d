"""Measurement of peak memory, of a trial and of its training; detection of out of memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

STEPS = 5  # of the training that are measured on the CPU; the optimizer's state is there from the second on
SLACK = 16 << 20  # bytes by which a process may grow before cycles are looked for
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, MOST_ON_HEAPS = -1, -3, 32 << 20  # of glibc's malloc.h
SECONDS = 1e-3  # between two looks at the C library's books


class Gauge:
    """Measures the memory of one trial: what its training allocates, and its peak.

    On the CPU the C library is asked what is allocated, every millisecond of the first steps; the peak is what is
    resident of the process, which holds more: what the library keeps for later depends on what the process
    has done before. Numbers are None where the system does not tell.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._watch: Watch | None = None
        self._before: int | None = None  # the peak up to the training
        self._base: int | None = None
        self._steps = 0
        self.training: int | None = None  # bytes that training took at its peak
        _reset(device)

    def begin_training(self) -> None:
        """Begin to measure the memory of training: what is allocated now is not counted."""
        release_memory(self._device)
        if self._device.type == "cuda":
            self._before = _peak(self._device)
            _reset(self._device)
            self._base = _peak(self._device)
        elif self._device.type == "cpu" and allocated() is not None:
            _warm_up()
            self._watch = Watch()

    def step_done(self) -> None:
        """Count a training step: on the CPU, the first few are measured."""
        self._steps += 1
        if self._watch is not None and self._steps == STEPS:
            self.end_training()

    def end_training(self) -> None:
        """End the measurement of training: what comes from now on, such as sampling, is not counted."""
        if self._watch is not None:
            bytes_at_peak = self._watch.end()
            self._watch = None
            self.training = bytes_at_peak if self._steps else None
        elif self._base is not None and self._steps:
            self.training = torch.cuda.max_memory_allocated(self._device) - self._base
            self._base = None

    @property
    def peak(self) -> int | None:
        """Return the peak memory of the trial in bytes: on the CPU that of the whole process."""
        peaks = [value for value in (self._before, _peak(self._device)) if value is not None]
        return max(peaks, default=None)


class Watch(threading.Thread):
    """A thread that samples the peak of the memory allocated in this process, above that at its start."""

    def __init__(self) -> None:
        super().__init__(name="memory", daemon=True)
        self._ended = threading.Event()
        self._base = self._most = allocated() or 0
        self.start()

    def run(self) -> None:
        """Sample the allocated memory until `end`."""
        while not self._ended.wait(SECONDS):
            self._most = max(self._most, allocated() or 0)

    def end(self) -> int:
        """Stop, and return the peak in bytes."""
        self._ended.set()
        self.join()
        return self._most - self._base


class _Books(ctypes.Structure):
    """glibc's `struct mallinfo2`, of which two numbers are needed: in use on the heaps, and in pages of their own."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def allocated() -> int | None:
    """Return the bytes allocated in this process; None where the C library does not tell (it is not glibc ≥ 2.33)."""
    library = _library()
    if library is None:
        return None
    books = library.mallinfo2()
    return int(books.uordblks) + int(books.hblkhd)


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Books
    except (OSError, AttributeError):
        return None
    return library


def out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means out of memory (OOM), on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


_kept: dict[torch.device, int] = {}  # bytes that this process held when cycles were looked for last, or at first


def release_memory(device: torch.device) -> None:
    """Return cached memory of torch or the C library to the system: others may need it now.

    What an earlier trial left in cycles goes only where more is held than what was kept last time: to look for cycles
    takes longer than a short trial, and nothing of ours leaves any. What is still held then (libraries that were
    imported meanwhile, caches) is not looked at for it again.
    """
    in_use = _in_use(device)
    if in_use > _kept.setdefault(device, in_use) + SLACK:
        gc.collect()
        _kept[device] = _in_use(device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Let the C library keep what is freed within a `with`, on the CPU, so that the next step finds it.

    A pack's tensors are so large that it gives them back to the system, and each step would have the pages zeroed anew.
    """
    library = _library() if device.type == "cpu" else None
    if library is None:
        yield
        return
    library.mallopt(M_MMAP_THRESHOLD, MOST_ON_HEAPS)
    library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        library.mallopt(M_TRIM_THRESHOLD, 2 * MOST_ON_HEAPS)  # where the library's own adaptation ends


def _in_use(device: torch.device) -> int:
    """Return the bytes that torch, or on the CPU this process, has allocated."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else allocated() or 0


def _reset(device: torch.device) -> None:
    """Reset the peak to the memory that is in use now."""
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
    """Warm the libraries up (code, threads) once a process, so that no training is charged for it.

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
