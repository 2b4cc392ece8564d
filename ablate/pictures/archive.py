"""Read an image data set from a zip archive, as EDM's dataset tool writes it, without unpacking it to disk."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ablate.errors import InputError
from ablate.pictures.beside import Beside
from ablate.pictures.decode import MOST_BYTES, SUFFIXES, Damaged, decode
from ablate.pictures.folder import notes_of, table_of
from ablate.pictures.labels import Labelling, from_folders, from_json
from ablate.pictures.source import Source, stamp_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A picture file is compressed already, and pixels rarely shrink twentyfold; deflate reaches 1032.
MOST_RATIO = 200  # of one entry that is larger than SMALL
MOST_TOTAL = 100  # of all entries together, beyond SMALL
SMALL = 2**24


class Archive(Source):
    """Read the pictures of a zip archive, in the order of their paths; labels from its dataset.json."""

    def __init__(self, path: Path, labelling: Labelling) -> None:
        super().__init__()
        self.path = path
        self._zip, entries = open_zip(path)
        self.names = sorted(n for n in entries if _visible(n) and PurePosixPath(n).suffix.lower() in SUFFIXES)
        if not self.names:
            raise InputError(f"there is no picture in this archive of {len(entries)} files", str(path))
        if labelling == "folders":
            self.labels, self.classes = from_folders(self.names, str(path))
        table = table_of(entries.keys(), self.names)
        if labelling == "file" and table:
            above = PurePosixPath(table).parent
            names = [PurePosixPath(name).relative_to(above).as_posix() for name in self.names]
            self.labels = from_json(self._read(table), names, f"{path}:{table}")
        hidden = [name for name in entries if not _visible(name)]
        others = [name for name in entries if _visible(name)]
        self._beside = Beside(path, set(others), self.names, self._read)
        used = {*self.names, *self._beside.files, *([table] if table else [])}
        self.notes = notes_of(others, self.names, used, hidden, self.labels is not None)

    def pixels(self, i: int) -> NDArray[np.uint8]:
        """Decode one image, (C, H, W); its checksum in the archive is verified."""
        try:
            return decode(self._zip.read(self.names[i]), self.remarks.append)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise Damaged(str(error)) from None

    def stamp(self) -> str:
        """Return the size and time of the archive."""
        return stamp_of(self.path)

    def columns(self) -> Mapping[str, type]:
        """Return those of captions and tables: see `Beside`."""
        return self._beside.kinds()

    def values(self) -> Mapping[str, NDArray[Any]]:
        """Read them."""
        return self._beside.values()

    def _read(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise InputError(f"damaged: {error}", f"{self.path}:{name}") from None


def open_zip(path: Path) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Open an archive and check that its files are safe to read; return it, and its files by name.

    Raises InputError where a path leads out, an entry is a link or encrypted, entries share their
    bytes, or they would unfold without bound. What an entry says of its size is what is read at most.
    """
    try:
        archive = zipfile.ZipFile(path)
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise InputError(f"no zip archive, or a damaged one ({error}); bring it here again", str(path)) from None
    for entry in entries:
        reason = _danger(entry)
        if reason is not None:
            archive.close()
            raise InputError(f"{entry.filename!r} in this archive {reason}; it is not read", str(path))
    size, packed = path.stat().st_size, sum(entry.compress_size for entry in entries)
    total = sum(entry.file_size for entry in entries)
    if packed > size or total > MOST_TOTAL * size + SMALL:
        archive.close()
        why = f"{size} bytes would unfold into {total}"
        raise InputError(f"a decompression bomb: {why}; it is not read", str(path))
    return archive, {entry.filename: entry for entry in entries}


def _danger(entry: zipfile.ZipInfo) -> str | None:
    name = entry.orig_filename
    if name.startswith("/") or "\\" in name or ":" in name or "\0" in name or ".." in PurePosixPath(name).parts:
        return "leads out of it"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a link"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.file_size > SMALL and entry.file_size > MOST_RATIO * max(entry.compress_size, 1):
        return f"is a decompression bomb: {entry.compress_size} bytes for {entry.file_size}"
    if PurePosixPath(name).suffix.lower() in SUFFIXES and entry.file_size > MOST_BYTES:
        return f"has {entry.file_size >> 20} MiB"
    return None


def _visible(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
