"""How much memory a trial took at its peak, and whether it was too much."""

from __future__ import annotations

import gc
from pathlib import Path

import torch


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new measurement."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the resident peak starts anew
    except OSError:
        return


def peak_memory(device: torch.device) -> int | None:
    """Bytes: allocated on a GPU, or the process's resident peak on the CPU; None where that cannot be known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(peaks[0]) if peaks else None


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory was not enough, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release_memory(device: torch.device) -> None:
    """Give back what torch keeps for later: on a GPU that is shared, others may need it now."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
