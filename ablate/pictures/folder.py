"""Pictures that are files below a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import InputError
from ablate.pictures.decode import MOST_BYTES, SUFFIXES, Damaged, decode
from ablate.pictures.labels import FILE, Labelling, from_folders, from_json
from ablate.pictures.source import Source, stamp_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Folder(Source):
    """All pictures below `path`, by their suffixes, in the order of their relative paths.

    Hidden files are left out. So is a link to what lies in the folder anyway; a link that leads out
    of it is refused, because then the folder is not all that was measured.
    """

    def __init__(self, path: Path, labelling: Labelling) -> None:
        self.path = path
        files = sorted(list_files(path))
        self.names = [name for name in files if Path(name).suffix.lower() in SUFFIXES]
        if not self.names:
            endings = Counter(Path(name).suffix or "no suffix" for name in files)
            held = ", ".join(f"{n} {ending}" for ending, n in endings.most_common(4))
            told = f"only other files ({held})" if held else "and nothing else"
            raise InputError(f"there is no picture below this folder, {told}", str(path))
        self._table = path / FILE if FILE in files else None
        if labelling == "folders":
            self.labels, self.classes = from_folders(self.names, str(path))
        elif labelling == "file" and self._table:
            self.labels = from_json(self._table.read_bytes(), self.names, str(self._table))

    def pixels(self, i: int) -> NDArray[np.uint8]:
        """(C, H, W) of one file."""
        file = self.path / self.names[i]
        if file.stat().st_size > MOST_BYTES:
            raise Damaged(f"a file of {file.stat().st_size >> 20} MiB")
        return decode(file.read_bytes())

    def stamp(self) -> str:
        """Names, sizes and times of all files."""
        files = [self.path / name for name in self.names] + ([self._table] if self._table else [])
        return "\n".join(f"{file.relative_to(self.path)} {stamp_of(file)}" for file in files)


def list_files(root: Path) -> Iterator[str]:
    """Paths relative to root, with forward slashes, of what is no link and not hidden.

    Raises InputError for a link that leads out of the folder, and for what cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot be read: {error.strerror}", error.filename)

    inside = os.path.realpath(root)
    for folder, folders, files in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*files, *folders):
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if path.is_symlink():
                target = os.path.realpath(path)
                if os.path.commonpath([target, inside]) != inside or not os.path.exists(target):  # noqa: PTH110
                    raise InputError(f"this link leads out of {root}, or nowhere; put the file itself there", str(path))
            elif path.is_file():
                yield path.relative_to(root).as_posix()
