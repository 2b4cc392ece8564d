"""Atomic writes: a file is there whole or not at all, also after kill -9 and a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp"


def write_with(path: Path, write: Callable[[Path], object], durable: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`; sync it (if `durable`) and rename it into place.

    Raises what `write` raises, and OSError; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_atomic(path: Path, content: str | bytes, durable: bool = True) -> None:
    """Write text (UTF-8) or bytes atomically."""
    data = content.encode() if isinstance(content, str) else content
    write_with(path, lambda temporary: temporary.write_bytes(data), durable)


def write_json(path: Path, data: Any, durable: bool = True) -> None:
    """Write JSON atomically; NaN and infinity are refused, so that any reader understands it."""
    write_atomic(path, json.dumps(data, indent=1, allow_nan=False) + "\n", durable)


def read_json(path: Path) -> Any:
    """Read JSON; FileNotFoundError and json.JSONDecodeError pass through."""
    return json.loads(path.read_text(encoding="utf-8"))


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written, and SQLite's journals of it; where nobody else writes."""
    for path in folder.glob(f".*{TEMPORARY}*"):
        path.unlink(missing_ok=True)
