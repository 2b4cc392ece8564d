"""SHA-256 of data and of files: what tells whether two are the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def digest(data: Any) -> str:
    """SHA-256 of canonical JSON (sorted keys, no spaces), in hexadecimal."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with file.open("rb") as held:
        return hashlib.file_digest(held, "sha256").hexdigest()
