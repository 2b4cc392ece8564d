"""Read an image data set from a numpy file: ADM's npz (`arr_0`), an npz of images and labels, or one npy."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import psutil

from ablate.errors import InputError
from ablate.pictures.archive import open_zip
from ablate.pictures.beside import texts
from ablate.pictures.labels import Labelling, checked
from ablate.pictures.source import Source, stamp_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAIRS = (("images", "labels"), ("arr_0", "arr_1"))  # names of pixels and labels, in turn
Names = tuple[str | None, str | None]  # of the arrays of pixels and labels; None: those of PAIRS
PICKLED = "Python objects in dtype"  # as numpy says it of an npy
LOCAL_HEADER = 30  # bytes of a zip entry's local header, before its name
DAMAGE = (ValueError, EOFError, OSError, SyntaxError, zipfile.BadZipFile, zlib.error, NotImplementedError)


class Arrays(Source):
    """Read uint8 images (N, H, W, C), (N, C, H, W) or (N, H, W), and labels (N,), if any, from the same npz.

    What is stored plainly is memory-mapped; what is compressed is unpacked once, into memory. Further arrays (N,) of
    numbers or strings are columns: what else is known of each image.
    """

    def __init__(self, path: Path, labelling: Labelling, names: Names = (None, None)) -> None:
        super().__init__()
        self.path = path
        if labelling == "folders":
            raise InputError("an array has no sub-folders; say labels: file, or none", str(path))
        images, labels, further = _open(path, names)
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise InputError(_unfit(images), str(path))
        if images.ndim == 3:
            images = images[:, None]
        elif images.shape[3] in (1, 3):
            images = images.transpose(0, 3, 1, 2)
        elif images.shape[1] not in (1, 3):
            raise InputError(_unfit(images), str(path))
        if 0 in images.shape[1:]:
            raise InputError(_unfit(images), str(path))
        self._images = images  # (N, C, H, W)
        self.names = [f"image {i}" for i in range(len(images))]
        kinds = {name: _column(path, name, len(images)) for name in further}
        self._columns = {name: kind for name, kind in kinds.items() if kind is not None}
        ignored = [f"array {name}" for name, kind in kinds.items() if kind is None]
        if labels is not None and labelling == "file":
            self.labels = checked(labels, len(images), str(path))
        elif labels is not None:
            ignored = [*ignored, "the labels"]
        self.notes = [f"left out: {', '.join(ignored)}"] if ignored else []

    def pixels(self, i: int) -> NDArray[np.uint8]:
        """Return one image, (C, H, W)."""
        return np.array(self._images[i])

    def stamp(self) -> str:
        """Return the size and time of the file."""
        return stamp_of(self.path)

    def columns(self) -> Mapping[str, type]:
        """Return the further arrays of one number or string an image."""
        return self._columns

    def values(self) -> Mapping[str, NDArray[Any]]:
        """Read them."""
        values: dict[str, NDArray[Any]] = {}
        for name, kind in self._columns.items():
            array = np.asarray(open_npz(self.path, name))
            if kind is float:
                values[name] = array.astype(np.float64)
                continue
            try:
                values[name] = texts(np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array)
            except UnicodeDecodeError as error:
                raise InputError(
                    f"array {name!r} holds text that is no UTF-8 ({error.reason})", str(self.path)
                ) from None
        return values


def _open(path: Path, names: Names) -> tuple[NDArray[Any], NDArray[Any] | None, list[str]]:
    """Read an npz: pixels, labels or None, names of the other arrays. Raises InputError for a missing name."""
    if path.suffix == ".npy":
        return open_npy(path), None, []
    arrays = list_npz(path)
    listing = ", ".join(sorted(arrays)) or "nothing"
    pixels_name = next((pixels for pixels, _ in PAIRS if pixels in arrays), None) if names[0] is None else names[0]
    if pixels_name not in arrays:
        expected = " or ".join(repr(pixels) for pixels, _ in PAIRS) if pixels_name is None else repr(pixels_name)
        raise InputError(f"there is no array {expected} here, only {listing}; say image_array: NAME", str(path))
    labels = dict(PAIRS).get(pixels_name) if names[1] is None else names[1]
    if names[1] is not None and labels not in arrays:
        raise InputError(f"there is no array {labels!r} here, only {listing}", str(path))
    pixels = open_npz(path, pixels_name)
    further = sorted(arrays - {pixels_name, labels})
    return pixels, open_npz(path, labels) if labels is not None and labels in arrays else None, further


def _column(path: Path, name: str, count: int) -> type | None:
    """Return what an array has of each of so many images, by its header: str, float, or None, nothing that is taken."""
    archive, entries = open_zip(path)
    try:
        with archive, archive.open(entries[f"{name}.npy"]) as file:
            shape, _, dtype = _header(file)
    except DAMAGE as error:
        raise _damage(error, path) from None
    if shape != (count,) or dtype.kind not in "iufbUS":
        return None
    return str if dtype.kind in "US" else float


def open_npy(path: Path) -> NDArray[Any]:
    """Open an npy as a memory-mapped array; raises InputError for pickled objects and damage."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        raise _damage(error, path) from None
    return array


def list_npz(path: Path) -> set[str]:
    """Return the names of an npz's arrays."""
    archive, entries = open_zip(path)
    archive.close()
    return {name.removesuffix(".npy") for name in entries if name.endswith(".npy")}


def open_npz(path: Path, name: str) -> NDArray[Any]:
    """Open one array of an npz: memory-mapped where it is stored plainly, else unpacked.

    Raises InputError for pickled objects (which would run code), for damage, and where unpacking
    would take more than half of the machine's memory.
    """
    archive, entries = open_zip(path)
    entry = entries[f"{name}.npy"]
    try:
        with archive, archive.open(entry) as file:
            shape, fortran, dtype = _header(file)
            begin = file.tell()
            if dtype.hasobject:
                raise InputError(
                    f"array {name!r} holds pickled objects, which could run code; it is not read", str(path)
                )
            count = int(np.prod(shape, dtype=object))
            if begin + count * dtype.itemsize != entry.file_size:
                raise ValueError(f"array {name!r} is {entry.file_size - begin} bytes long, its header says otherwise")
            order: Literal["C", "F"] = "F" if fortran else "C"
            if entry.compress_type == zipfile.ZIP_STORED and count:
                offset = _data_offset(path, entry) + begin
                return np.memmap(path, dtype, "r", offset, shape, order)
            if entry.file_size > psutil.virtual_memory().total // 2:
                raise InputError(f"array {name!r} has {entry.file_size >> 20} MiB; save it uncompressed", str(path))
            unpacked: NDArray[Any] = np.ndarray(shape, dtype, file.read(), order=order)
            return unpacked
    except DAMAGE as error:
        raise _damage(error, path) from None


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an npy: shape, whether in Fortran's order, type of the values."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = reader(file)
    return header


def _data_offset(path: Path, entry: zipfile.ZipInfo) -> int:
    """Return the offset of an entry's bytes: its local header may be longer than the directory's."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        name, extra = struct.unpack("<26xHH", file.read(LOCAL_HEADER))
    return entry.header_offset + LOCAL_HEADER + int(name) + int(extra)


def _unfit(images: NDArray[Any]) -> str:
    shapes = "(N, H, W, C) or (N, C, H, W) with C = 1 or 3"
    message = f"images are {images.dtype} {images.shape}, and have to be uint8 {shapes}"
    return f"{message}; quantise them first" if images.dtype != np.uint8 else message


def _damage(error: Exception, path: Path) -> InputError:
    if PICKLED in str(error):
        return InputError("it holds pickled objects, which could run code; it is not read", str(path))
    return InputError(f"no numpy file, or a damaged one ({error}); bring it here again", str(path))
