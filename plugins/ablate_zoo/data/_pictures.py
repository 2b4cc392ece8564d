"""What all image data have in common: size, colour, mirror images, and a reference that is held out."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from ablate.api import CLASS_COLUMN, Choice, Data, Dataset, InputError, InputSpec, digest
from ablate.io.files import stamp
from ablate.pictures import Colour, Pictures, Resize
from ablate.pictures.source import describe_columns
from ablate_zoo.data._store import cached_arrays, cached_facts, content_hash, create_npy, gather

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = 12  # that are described one by one
ARRAYS = 2  # another number for other arrays in the cache


class PictureData(Data):
    """Pictures of a user's own.

    They are ordered by the SHA-256 of their pixels, after resizing; the first `reference` of them are
    held out. So the split follows from the pictures alone, whatever their names and order, a larger
    reference contains the smaller ones, and the order in which the rest is stored is as good as
    random. Where a picture that is held out has copies, these are not trained on either.
    """

    size: Annotated[int | None, Field(ge=4, le=4096), Choice(32, 64)] = None  # side in pixels; None: as they are
    resize: Resize = "centre_crop"  # ADM's: box halving, bicubic, the middle; read only with a size
    colour: Colour = "as_is"  # as_is: all have to be grey, or all in colour
    flip: bool = False  # mirror every second picture that is drawn, left to right
    limit: Annotated[int | None, Field(ge=4, le=10**9)] = None  # take so many at most, whichever their order
    reference: Annotated[int, Field(ge=2, le=10**9)] = 1000  # pictures held out as the reference of metrics
    skip_corrupt: bool = False  # leave out what cannot be decoded

    @abstractmethod
    def pictures(self) -> Pictures:
        """The pictures, opened; raises InputError where they cannot be."""

    def options(self) -> dict[str, Any]:
        """Those options that decide how a picture is read, as `Pictures` takes them."""
        names = ("size", "colour", "limit", "skip_corrupt")
        return {"rule": self.resize, **{name: getattr(self, name) for name in names}}

    def active(self) -> dict[str, Any]:
        """Without a size nothing is resized: the rule is not read."""
        active = super().active()
        if self.size is None:
            del active["resize"]
        return active

    def provides(self) -> frozenset[str]:
        """Whether the pictures are labelled, if they are there to tell; whether they are mirrored."""
        mirrored = {"mirrored_pictures"} if self.flip else set()
        try:
            labelled = self.setting().classes is not None
        except (InputError, OSError):
            return frozenset(mirrored)
        return frozenset({"labels", *mirrored} if labelled else mirrored)

    def setting(self) -> InputSpec:
        """Shape of the first picture, and the classes. Raises InputError where they cannot be read so."""
        return _setting(self, self._freshness())

    def check(self, cache: Path) -> None:
        """Read all pictures, into the cache."""
        self.load(cache)

    def load(self, cache: Path) -> Dataset:
        """Both parts, memory-mapped from `cache`."""
        pictures = self.pictures()
        arrays, facts = cached_arrays(cache / "data", self._key(pictures), lambda folder: self._make(pictures, folder))
        columns, reference_columns = (
            ({}, {})
            if not self.conditions
            else (pictures.values(arrays[f"{part}rows"], arrays[f"{part}sizes"]) for part in ("", "reference_"))
        )
        return Dataset(
            arrays["images"],
            arrays.get("labels"),
            arrays["reference_images"],
            arrays.get("reference_labels"),
            classes=pictures.classes,
            hash=facts["hash"],
            flip=self.flip,
            columns=columns,
            reference_columns=reference_columns,
        )

    def columns(self) -> Mapping[str, type]:
        """What the source has of each picture (captions, numbers), its file, its size, and the names of the classes."""
        return _columns(self, self._freshness())

    def class_names(self) -> Sequence[str] | None:
        """Of sub-folders, or of a table that names them."""
        return _class_names(self, self._freshness())

    def describe(self, cache: Path) -> list[str]:
        """Pictures, classes and what is left out; of their content what an earlier reading has found."""
        pictures = self.pictures()
        facts = cached_facts(cache / "data", self._key(pictures))
        return describe_pictures(pictures, self.reference, facts)

    def _key(self, pictures: Pictures) -> str:
        return digest([pictures.stamp(), self.reference, ARRAYS])[:32]

    def _freshness(self) -> str:
        """Something that changes when the source does; what was found out before is then forgotten."""
        return ""

    def _check_reference(self, count: int) -> None:
        if self.reference > count - 2:
            problem = f"{self.reference} of {count} pictures cannot be held out: that leaves less than two to train on"
            most = f"; say reference: {max(2, count // 5)}, and {count - 2} at most" if count >= 4 else ""
            raise InputError(problem + most)

    def _make(self, pictures: Pictures, folder: Path) -> dict[str, Any]:
        """Write the arrays; two passes over them, so that no more than a batch is ever in memory."""
        everything = read_into(folder / "all.npy", pictures)
        hashes = everything.hashes
        order = np.array(sorted(range(len(hashes)), key=lambda i: (hashes[i], i)))
        self._check_reference(len(order))
        held_out, rest = order[: self.reference], order[self.reference :]
        apart = np.array([hashes[i] != hashes[held_out[-1]] for i in rest])
        rest = rest[apart]
        if len(rest) < 2:
            raise InputError(f"nearly all of {len(order)} pictures are copies of one", str(pictures.source.path))
        parts = {}
        for name in ("images", "labels", "rows", "sizes"):
            values = getattr(everything, name)
            for prefix, index in () if values is None else (("", rest), ("reference_", held_out)):
                parts[prefix + name] = gather(folder / f"{prefix}{name}.npy", values, index)
        del everything, values
        (folder / "all.npy").unlink()
        names = ("images", "labels", "reference_images", "reference_labels")
        return {
            "hash": content_hash(*(parts[name] for name in names if name in parts)),
            "copies_left_out": int((~apart).sum()),
            "skipped": pictures.skipped,
            "remarks": pictures.remarks,
        }


def describe_pictures(pictures: Pictures, reference: int, facts: Mapping[str, Any]) -> list[str]:
    """Describe what a set of pictures is taken for, a line each, for people."""
    channels, height, width = pictures.shape()
    colour = "grey" if channels == 1 else "colour"
    size = f"{width}×{height}, {colour}, 8 bits a channel"
    lines = [f"{len(pictures)} pictures of {size}; {reference} of them are held out as the reference of metrics"]
    lines.append(describe_classes(pictures.labels, pictures.classes, pictures.source.classes))
    if own := pictures.source.columns():
        lines.append(f"known of each picture: {describe_columns(own)}")
    if len(pictures) < len(pictures.source.names):
        lines.append(
            f"left out: {len(pictures.source.names) - len(pictures)} of {len(pictures.source.names)} by the limit"
        )
    lines += pictures.source.notes
    if skipped := facts.get("skipped"):
        name, why = next(iter(skipped.items()))
        lines.append(f"left out: {len(skipped)} that cannot be read, such as {name} ({why})")
    if copies := facts.get("copies_left_out"):
        lines.append(f"left out: {copies} copies of pictures in the reference, which are not trained on")
    return lines + [f"{count} of the pictures {word}" for word, count in facts.get("remarks", {}).items()]


def describe_classes(labels: NDArray[np.int64] | None, classes: int | None, names: Sequence[str] | None) -> str:
    """Describe how many classes there are, what they are called, and how many pictures each has."""
    if labels is None or classes is None:
        return "no labels: what is drawn is not conditioned on a class"
    counts = np.bincount(labels, minlength=classes)
    lines = [f"{names[i] if names else i}: {n}" for i, n in enumerate(counts.tolist()) if n]
    listing = ", ".join(lines[:CLASSES]) + (f", and {len(lines) - CLASSES} more" if len(lines) > CLASSES else "")
    empty = int((counts == 0).sum())
    without = f"; {empty} class numbers have no picture, and no sample is drawn for them" if empty else ""
    return f"{len(lines)} classes ({listing}){without}"


class Everything(NamedTuple):
    """All sound pictures of a set."""

    images: NDArray[np.uint8]  # (N, C, H, W), on disk; where pictures were left out, the last ones are empty
    labels: NDArray[np.int64] | None  # (N,)
    hashes: list[bytes]  # SHA-256 of each
    rows: NDArray[np.int64]  # (N,), which picture of the source each is
    sizes: NDArray[np.int32]  # (N, 2), height and width before resizing


def read_into(path: Path, pictures: Pictures) -> Everything:
    """Read all sound pictures into one array on disk."""
    images = create_npy(path, (len(pictures), *pictures.shape()), np.uint8)
    hashes: list[bytes] = []
    labels: list[NDArray[np.int64]] = []
    rows, sizes = [], []
    for batch in pictures.read():
        images[len(hashes) : len(hashes) + len(batch.images)] = batch.images
        hashes += [hashlib.sha256(image.tobytes()).digest() for image in batch.images]
        labels += [] if batch.labels is None else [batch.labels]
        rows.append(batch.rows)
        sizes.append(batch.sizes)
    return Everything(
        images, np.concatenate(labels) if labels else None, hashes, np.concatenate(rows), np.concatenate(sizes)
    )


@lru_cache(maxsize=8)
def _setting(data: PictureData, freshness: str) -> InputSpec:
    pictures = data.pictures()
    data._check_reference(len(pictures))
    return InputSpec(pictures.shape(), pictures.classes)


@lru_cache(maxsize=8)
def _columns(data: PictureData, freshness: str) -> Mapping[str, type]:
    pictures = data.pictures()
    return {**({} if pictures.classes is None else {CLASS_COLUMN: str}), **pictures.columns()}


@lru_cache(maxsize=8)
def _class_names(data: PictureData, freshness: str) -> Sequence[str] | None:
    return data.pictures().source.classes


class FileData(PictureData):
    """Pictures that lie somewhere on this machine."""

    path: str  # relative to the study's file

    def _freshness(self) -> str:
        try:
            return stamp(self.located(self.path))
        except (OSError, InputError):
            return ""
