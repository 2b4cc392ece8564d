"""Plugin files that are gone, found where a study's folder keeps them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ablate.io.files import read_json


def kept(folder: Path, plugin: str | Path) -> Path | None:
    """Where a plugin's file that is gone is kept, as the newest launch used it; None where it is not."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        file = Path(folder / read_json(folder / "lock.json")["kept"][str(plugin)])
        return file.absolute() if file.is_file() else None
    return None
