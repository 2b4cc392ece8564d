"""The device of a trial, and the folder where data, weights and features are cached."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

from ablate.errors import InputError, did_you_mean

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> str:
    """Return `cpu`, `cuda` or `mps`; `auto` takes a GPU of CUDA where there is one."""
    import torch

    if name not in DEVICES:
        raise InputError(f"there is no device {name!r}{did_you_mean(name, DEVICES)}")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("no mps device (Apple's GPU) is to be seen here; say --device cpu, or see `ablate doctor`")
        return name
    able = torch.cuda.is_available()
    if name == "cuda" and not able:
        raise InputError("no CUDA device is to be seen here; say --device cpu, or see `ablate doctor`")
    return "cuda" if able and name != "cpu" else "cpu"


def usable(cache: Path) -> Path:
    """Return the cache folder, made where it is not there. Raises InputError where it cannot be written."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        message = f"the cache {cache} cannot be written ({error.strerror}); name another folder in ABLATE_CACHE"
        raise InputError(message) from None
    return cache


def cache_folder() -> Path:
    """Return the folder of data, weights and features: `ABLATE_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("ABLATE_CACHE") or platformdirs.user_cache_dir("ablate")).absolute()
