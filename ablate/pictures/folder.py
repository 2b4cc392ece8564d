"""Read an image data set from the files below a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ablate.errors import InputError
from ablate.pictures.beside import Beside
from ablate.pictures.decode import MOST_BYTES, SUFFIXES, Damaged, decode
from ablate.pictures.labels import FILE, Labelling, from_folders, from_json, looks_like
from ablate.pictures.source import Source, stamp_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PictureFolder(Source):
    """Read all pictures below `path`, by their suffixes, in the order of their relative paths.

    Hidden files are left out. So is a link to what lies in the folder anyway; a link that leads out
    of it is refused, because then the folder is not all that was measured.
    """

    def __init__(self, path: Path, labelling: Labelling) -> None:
        super().__init__()
        self.path = path
        hidden: list[str] = []
        files = sorted(list_files(path, hidden))
        self.names = [name for name in files if Path(name).suffix.lower() in SUFFIXES]
        if not self.names:
            endings = Counter(Path(name).suffix or "no suffix" for name in files)
            kinds = ", ".join(f"{n} {ending}" for ending, n in endings.most_common(4))
            what = f"only other files ({kinds})" if kinds else "and nothing else"
            raise InputError(f"there is no picture below this folder, {what}", str(path))
        table = table_of(files, self.names)
        self._table = path / table if table else None
        if labelling == "folders":
            self.labels, self.classes = from_folders(self.names, str(path))
        elif labelling == "file" and self._table:
            above = self._table.relative_to(path).parent
            names = [Path(name).relative_to(above).as_posix() for name in self.names]
            self.labels = from_json(self._table.read_bytes(), names, str(self._table))
        self._beside = Beside(path, set(files), self.names, lambda name: (path / name).read_bytes())
        used = {*self.names, *self._beside.files, *([table] if table else [])}
        self.notes = notes_of(files, self.names, used, hidden, self.labels is not None)

    def pixels(self, i: int) -> NDArray[np.uint8]:
        """Decode one file, (C, H, W)."""
        file = self.path / self.names[i]
        if file.stat().st_size > MOST_BYTES:
            raise Damaged(f"a file of {file.stat().st_size >> 20} MiB")
        return decode(file.read_bytes(), self.remarks.append)

    def stamp(self) -> str:
        """Return the names, sizes and times of all files."""
        files = [self.path / name for name in self.names] + ([self._table] if self._table else [])
        return "\n".join(f"{file.relative_to(self.path)} {stamp_of(file)}" for file in files)

    def columns(self) -> Mapping[str, type]:
        """Return those of captions and tables: see `Beside`."""
        return self._beside.kinds()

    def values(self) -> Mapping[str, NDArray[Any]]:
        """Read them."""
        return self._beside.values()


def table_of(files: Collection[str], pictures: Sequence[str]) -> str | None:
    """Find the dataset.json at the top, or in the one folder in which all pictures lie."""
    folders = [PurePosixPath(name).parts[:-1] for name in pictures]
    shared = takewhile(lambda level: len(set(level)) == 1, zip(*folders, strict=False))
    common = PurePosixPath(*(level[0] for level in shared))
    return next((name for folder in (common, *common.parents) if (name := (folder / FILE).as_posix()) in files), None)


def notes_of(
    files: Sequence[str], pictures: Sequence[str], used: Collection[str], hidden: Sequence[str], labelled: bool
) -> list[str]:
    """Format notes for the user: what was left out, and what sub-folders might mean. used: names of files."""
    others = Counter(Path(name).suffix.lower() or "no suffix" for name in files if name not in used)
    counted = [f"{n} {ending}" for ending, n in others.most_common(4)]
    more = sum(others.values()) - sum(n for _, n in others.most_common(4))
    notes = (
        [f"left out: {', '.join(counted)}{f' and {more} more' if more else ''}, which are no pictures"]
        if counted
        else []
    )
    if hidden:
        notes.append(f"left out: {len(hidden)} hidden or linked, such as {hidden[0]}")
    hint = None if labelled else looks_like(pictures)
    return [*notes, hint] if hint else notes


def list_files(root: Path, hidden: list[str] | None = None) -> Iterator[str]:
    """Yield the paths of files relative to root, with forward slashes; links and hidden ones go into `hidden`.

    Raises InputError for a link that leads out of the folder, and for what cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot be read: {error.strerror}", error.filename)

    inside = os.path.realpath(root)
    for folder, folders, files in os.walk(root, onerror=refuse):
        passed = [name for name in (*files, *folders) if name.startswith(".")]
        if hidden is not None:
            hidden += [Path(folder, name).relative_to(root).as_posix() for name in passed]
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*files, *folders):
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if path.is_symlink():
                target = os.path.realpath(path)
                if os.path.commonpath([target, inside]) != inside or not os.path.exists(target):  # noqa: PTH110
                    raise InputError(f"this link leads out of {root}, or nowhere; put the file itself there", str(path))
                if hidden is not None:
                    hidden.append(path.relative_to(root).as_posix())
            elif path.is_file():
                yield path.relative_to(root).as_posix()
