"""Open an image data set and read it in batches; all its errors are reported in one message."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ablate.errors import InputError, did_you_mean
from ablate.pictures.archive import Archive
from ablate.pictures.arrays import Arrays, Names
from ablate.pictures.decode import Damaged
from ablate.pictures.folder import PictureFolder
from ablate.pictures.labels import Labelling
from ablate.pictures.resize import Colour, Resize, crop_offsets, recolour, resize
from ablate.pictures.source import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

THREADS = 8  # that decode, at the most
NAMED = 3  # damaged pictures that are told by name


def open_pictures(
    path: str | Path,
    *,
    size: int | None = None,
    rule: Resize = "centre_crop",
    colour: Colour = "as_is",
    labels: Labelling = "file",
    limit: int | None = None,
    skip_corrupt: bool = False,
    arrays: Names = (None, None),
) -> Pictures:
    """Open an image data set: a folder (with its sub-folders), a zip archive, an npz or an npy.

    size: side in pixels to which each is brought by `rule`; None: as they are, and then all have to
    be of one size. colour: "grey" or "rgb"; "as_is": all have to be the one or the other. labels:
    from a file (dataset.json, or the array beside the images) where there is one, from sub-folders,
    or none. limit: that many pictures at most, the same whatever their order: those whose names have
    the smallest SHA-256. skip_corrupt: leave out what cannot be decoded, instead of refusing it all. arrays:
    names of the arrays of pixels and labels in an npz, where they are other than `images` or `arr_0`.

    Raises InputError where there are fewer than two pictures, labels do not match them, or the file
    is not safe to read.
    """
    source = open_source(Path(path).expanduser(), labels, arrays)
    return Pictures(source, size, rule, colour, limit, skip_corrupt)


def open_source(path: Path, labels: Labelling, arrays: Names = (None, None)) -> Source:
    """Open a source by its type: folder, zip, npz or npy. Raises InputError where there is none of these."""
    if path.is_dir():
        return PictureFolder(path, labels)
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = did_you_mean(path.name, beside) if len(beside) <= 100 or path.name in beside else ""
        raise InputError(f"there is no such folder or file{near if near.startswith('; did') else ''}", str(path))
    if not path.is_file():
        raise InputError("neither a folder nor a file", str(path))
    kind = path.suffix.lower()
    if kind in (".npz", ".npy"):
        return Arrays(path, labels, arrays)
    if kind == ".zip":
        return Archive(path, labels)
    raise InputError("pictures are read from a folder, a .zip, an .npz or an .npy", str(path))


class Batch(NamedTuple):
    """Some pictures of a set, in its order."""

    images: NDArray[np.uint8]  # (B, C, H, W)
    labels: NDArray[np.int64] | None  # (B,)
    rows: NDArray[np.int64]  # (B,), their numbers in the source
    sizes: NDArray[np.int32]  # (B, 2), height and width before resizing


class Pictures:
    """An image data set: pictures of one shape, in a fixed order, read in batches on demand."""

    def __init__(
        self, source: Source, size: int | None, rule: Resize, colour: Colour, limit: int | None, skip_corrupt: bool
    ) -> None:
        self.source = source
        self.size = size
        self.rule: Resize = rule
        self.colour: Colour = colour
        self.skip_corrupt = skip_corrupt
        self.skipped: dict[str, str] = {}  # {name: why} of what a reading has left out
        self.chosen = _chosen(source, limit)
        if len(self.chosen) < 2:
            raise InputError("there is one picture alone; a set has at least two", str(source.path))

    def __len__(self) -> int:
        """Return the number of pictures, damaged ones included."""
        return len(self.chosen)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The labels (N,) of all pictures, damaged ones included; None without labels."""
        return None if self.source.labels is None else self.source.labels[self.chosen]

    @property
    def classes(self) -> int | None:
        """The number of classes of the whole source: its largest label and one, or as many as it names."""
        if self.source.labels is None:
            return None
        return len(self.source.classes) if self.source.classes else int(self.source.labels.max()) + 1

    def shape(self) -> tuple[int, int, int]:
        """Return (C, H, W) of the first picture after resizing; the others are checked when they are read."""
        for i in self.chosen:
            first = self._take(int(i))
            if not isinstance(first, Damaged):
                channels, height, width = first[0].shape
                return channels, height, width
            if not self.skip_corrupt:
                break
        raise self._damage()

    def batches(self, count: int = 250) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64] | None]]:
        """Yield images (B, C, H, W) and their labels (B,), B <= count, until all undamaged pictures have come.

        Raises InputError where pictures are damaged (unless they are skipped) or of different shapes.
        """
        for batch in self.read(count):
            yield batch.images, batch.labels

    def read(self, count: int = 250) -> Iterator[Batch]:
        """Do the same, and tell which pictures of the source they are, and what size they had."""
        self.skipped = {}
        self.source.remarks.clear()
        first: tuple[str, tuple[int, ...]] | None = None
        labels = self.source.labels
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
            for begin in range(0, len(self.chosen), count):
                part = self.chosen[begin : begin + count]
                images, indices, sizes = [], [], []
                for i, taken in zip(part, pool.map(self._take, map(int, part)), strict=True):
                    name = self.source.names[i]
                    if isinstance(taken, Damaged):
                        if not self.skip_corrupt:
                            raise self._damage()
                        self.skipped[name] = str(taken)
                        continue
                    picture, size = taken
                    first = first or (name, picture.shape)
                    if picture.shape != first[1]:
                        raise self._mixture(*first, name, picture.shape)
                    images.append(picture)
                    indices.append(i)
                    sizes.append(size)
                if images:
                    rows = np.array(indices, np.int64)
                    yield Batch(
                        np.stack(images), None if labels is None else labels[rows], rows, np.array(sizes, np.int32)
                    )
        if len(self) - len(self.skipped) < 2:
            raise self._damage()

    @property
    def crops(self) -> bool:
        """Whether a square is cut out of each."""
        return self.size is not None and self.rule == "centre_crop"

    def columns(self) -> dict[str, type]:
        """Return what else is known of each picture, {name: str or float}.

        Its file, the source's own columns, its width and height in pixels before resizing, and where the square was cut
        out of it, in pixels after scaling (as SDXL is told: Podell et al. 2024, 2.2). A column of the source comes
        before one of the same name here: its width may be that of a larger original.
        """
        numbers = ("width", "height", *(("crop_top", "crop_left") if self.crops else ()))
        return {"file": str, **dict.fromkeys(numbers, float), **self.source.columns()}

    def values(self, rows: NDArray[np.int64], sizes: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
        """Read the columns of some pictures, (n,) each: text as objects, or None; numbers as float64, or NaN.

        rows, sizes: as `read` tells them, (n,) and (n, 2).
        """
        size, numbers = self.size, {"height": sizes[:, 0], "width": sizes[:, 1]}
        if size is not None and self.crops:
            known, which = np.unique(sizes, axis=0, return_inverse=True)
            offsets = np.array([crop_offsets(height, width, size) for height, width in known.tolist()])[which]
            numbers |= {"crop_top": offsets[:, 0], "crop_left": offsets[:, 1]}
        files = np.array([self.source.names[row] for row in rows], dtype=object)
        own = {name: values[rows] for name, values in self.source.values().items()}
        return {"file": files, **{name: values.astype(np.float64) for name, values in numbers.items()}, **own}

    @property
    def remarks(self) -> dict[str, int]:
        """{what a viewer shows differently: how many pictures} of the last reading."""
        return dict(Counter(self.source.remarks))

    def stamp(self) -> str:
        """Hash (SHA-256) all that decides the images, without reading them: the source's files and the options."""
        options = (self.size, self.rule, self.colour, len(self.chosen), self.skip_corrupt)
        labels = b"" if self.source.labels is None else self.source.labels.tobytes()
        text = f"{self.source.path.resolve()}\n{options}\n{self.source.stamp()}".encode(errors="backslashreplace")
        return hashlib.sha256(text + labels).hexdigest()

    def _take(self, i: int) -> tuple[NDArray[np.uint8], tuple[int, int]] | Damaged:
        """Return a picture as it is to be, and its height and width before."""
        try:
            pixels = recolour(self.source.pixels(i), self.colour)
        except Damaged as reason:
            return reason
        _, height, width = pixels.shape
        return pixels if self.size is None else resize(pixels, self.size, self.rule), (height, width)

    def _damage(self) -> InputError:
        """Find all damaged pictures, and return the error that lists them."""
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
            reasons = zip(self.chosen, pool.map(self._broken, map(int, self.chosen)), strict=True)
            damaged = {self.source.names[int(i)]: why for i, why in reasons if why is not None}
        listing = ", ".join(f"{name} ({why})" for name, why in list(damaged.items())[:NAMED])
        more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        n_sound = len(self) - len(damaged)
        what = "picture cannot" if len(damaged) == 1 else "pictures cannot"
        advice = f"the other {n_sound} are fine: replace it, or leave it out with skip_corrupt" if n_sound > 1 else ""
        rest = advice or f"there remain {n_sound}, and a set has at least two"
        return InputError(f"{len(damaged)} {what} be read: {listing}{more}; {rest}", str(self.source.path))

    def _broken(self, i: int) -> str | None:
        try:
            self.source.pixels(i)
        except Damaged as reason:
            return str(reason)
        return None

    def _mixture(self, name: str, shape: tuple[int, ...], other: str, other_shape: tuple[int, ...]) -> InputError:
        if shape[0] != other_shape[0]:
            grey, coloured = (name, other) if shape[0] == 1 else (other, name)
            message = f"{grey} is grey and {coloured} is in colour; say colour: grey, or colour: rgb"
        else:
            sizes = [f"{n} is {s[2]}×{s[1]}" for n, s in ((name, shape), (other, other_shape))]
            message = f"{sizes[0]} and {sizes[1]} pixels; give a size, to which all are brought"
        return InputError(f"the pictures are mixed: {message}", str(self.source.path))


def _chosen(source: Source, limit: int | None) -> NDArray[np.int64]:
    everything = np.arange(len(source.names))
    if limit is None or limit >= len(everything):
        return everything
    hashes = [hashlib.sha256(name.encode(errors="backslashreplace")).digest() for name in source.names]
    by_hash = sorted(range(len(hashes)), key=hashes.__getitem__)
    return np.sort(np.array(by_hash[:limit]))
