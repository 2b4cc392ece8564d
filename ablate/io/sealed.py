"""JSON files with a checksum of their own, which is verified when they are read.

The checksum is the SHA-256 of the canonical JSON of all other keys. What is damaged is kept aside, never deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.io.files import digest, read_json

CHECKSUM = "checksum"
ASIDE = ".damaged-"  # in the name of what does not count


class DamagedError(ValueError):
    """A file is damaged, or was changed after it was written; the message begins with its path."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"{file}: {why}")
        self.file, self.why = file, why


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Add the checksum to a mapping: SHA-256 over the canonical JSON of all other keys."""
    rest = unsealed(data)
    return {**rest, CHECKSUM: digest(rest)}


def unsealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping without its checksum."""
    return {key: value for key, value in data.items() if key != CHECKSUM}


def read_sealed(file: Path) -> dict[str, Any]:
    """Read a JSON object, its checksum verified where it has one.

    Raises FileNotFoundError, and DamagedError for what cannot be read or was changed after it was written.
    """
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(file, f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DamagedError(file, f"cannot be read ({error})") from None
    return check_sealed(file, content)


def check_sealed(file: Path, content: Any) -> dict[str, Any]:
    """Return what was read from a file. Raises DamagedError where it is no JSON object, or its checksum is another."""
    if not isinstance(content, dict):
        raise DamagedError(file, "holds no JSON object")
    if CHECKSUM in content and not _fits(content):
        raise DamagedError(file, "is not as it was written: its checksum is another")
    return content


def set_aside(file: Path) -> Path:
    """Rename a damaged file out of the way: `record.json` -> `record.damaged-1.json`; where it is now."""
    n = 1
    while (target := file.with_name(f"{file.stem}{ASIDE}{n}{file.suffix}")).exists():
        n += 1
    with contextlib.suppress(OSError):  # gone meanwhile, or a folder that cannot be written, which is told later
        file.rename(target)
    return target


def _fits(content: Mapping[str, Any]) -> bool:
    try:
        return bool(sealed(content)[CHECKSUM] == content[CHECKSUM])
    except (ValueError, TypeError):  # NaN, which no record holds
        return False
