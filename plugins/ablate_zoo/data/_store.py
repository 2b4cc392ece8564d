"""Data sets in the cache: arrays that are made once and memory-mapped ever after."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.io.files import content_digest, read_json, write_json
from ablate.io.locks import locked

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LAYOUT = 2  # of the kept files: another number for another way of making them
_BLOCK = 2**24  # bytes that are hashed or moved at a time

Arrays = dict[str, "NDArray[Any]"]


def cached_arrays(folder: Path, key: str, make: Callable[[Path], dict[str, Any]]) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays that `make` writes as .npy files into the folder it is given, and the facts it returns.

    Made once for each key: whoever comes while they are made waits, and what a killed maker left is
    swept. What was cut short or changed since then is made anew. The arrays are memory-mapped, so that
    a process holds only the pages it looks at; they may be changed in memory, the files never are.
    """
    target = folder / f"{key}-v{_LAYOUT}"
    opened = _opened(target)
    if opened is not None:
        return opened
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{key}.lock"):
        opened = _opened(target)
        if opened is not None:
            return opened
        for remains in (target, *folder.glob(f".{key}.*.tmp")):
            shutil.rmtree(remains, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", suffix=".tmp", dir=folder))
        try:
            facts = make(temporary)
            sums = {path.name: content_digest(path) for path in temporary.glob("*.npy")}
            write_json(temporary / "facts.json", {**facts, "sums": sums})
            temporary.chmod(0o755)
            temporary.rename(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    opened = _opened(target)
    if opened is None:
        raise OSError(f"{target} was made, and cannot be read")
    return opened


def cached_facts(folder: Path, key: str) -> dict[str, Any]:
    """Return the facts of what `cached_arrays` has made; {} where it has not."""
    try:
        facts = read_json(folder / f"{key}-v{_LAYOUT}" / "facts.json")
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def content_hash(*arrays: NDArray[Any] | None) -> str:
    """Compute the SHA-256 over type, shape and values of each array, in blocks: a memory map stays on disk."""
    content = hashlib.sha256()
    for array in arrays:
        if array is None:
            content.update(b"none")
            continue
        content.update(f"{array.dtype.str}{array.shape}".encode())
        for block in blocks(array):
            content.update(np.ascontiguousarray(block).data)
    return content.hexdigest()


def blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the array in consecutive parts of some megabytes."""
    rows = max(1, _BLOCK // max(1, array[:1].nbytes))
    for begin in range(0, len(array), rows):
        yield array[begin : begin + rows]


def create_npy(path: Path, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Create an .npy file, memory-mapped for writing."""
    array: NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    return array


def gather(path: Path, source: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    """Write source[order] to a new .npy file, some megabytes at a time."""
    array = create_npy(path, (len(order), *source.shape[1:]), source.dtype)
    done = 0
    for block in blocks(array):
        block[:] = source[order[done : done + len(block)]]
        done += len(block)
    return array


def _opened(folder: Path) -> tuple[Arrays, dict[str, Any]] | None:
    """Open arrays and facts of a folder; None where they are not whole."""
    try:
        facts = read_json(folder / "facts.json")
        if any(content_digest(folder / name) != digest for name, digest in facts["sums"].items()):
            return None
        names = [Path(name).stem for name in facts["sums"]]
        return {name: np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False) for name in names}, facts
    except (OSError, ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError):
        return None
