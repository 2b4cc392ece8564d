"""data: the images, divided into those to train on and those to measure against (the reference)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ablate.errors import InputError
from ablate.io.files import digest
from ablate.kinds.condition import CLASS_COLUMN, Condition, Stored
from ablate.spec.component import Added, Component, InputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Encoding:
    """How latents z of an autoencoder become what the network sees: x = (z − shift)·scale, a channel at a time.

    normalised: the stored values are x already; decoding needs shift and scale all the same.
    sampled: mean ‖ standard deviation of z are stored, (N, 2C, H, W), and z is drawn anew each time.
    """

    shift: tuple[float, ...]  # (C,)
    scale: tuple[float, ...]  # (C,)
    normalised: bool = False
    sampled: bool = False


@dataclass(frozen=True)
class Dataset:
    """What is trained on and what is measured against; the two parts never overlap.

    images: uint8 (N, C, H, W), which the network sees in [-1, 1]; with an `encoding`, latents as
    floats, and perhaps the pictures that they were made from. The reference is pixels in any case. Arrays may be
    memory-mapped.
    """

    images: NDArray[np.uint8] | NDArray[np.floating]
    labels: NDArray[np.int64] | None  # (N,)
    reference_images: NDArray[np.uint8]
    reference_labels: NDArray[np.int64] | None
    classes: int | None
    hash: str  # SHA-256 of the content of both parts
    flip: bool = False  # every second image drawn is mirrored, left to right
    mirrored: NDArray[np.floating] | None = None  # latents of the mirrored images: drawn every second time
    encoding: Encoding | None = None
    # What else is known of each image, {name: (N,)}, and of each of the reference: captions, sizes. Text is an array of
    # str, or of objects with None where it is missing; numbers are floats, NaN where they are missing.
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    reference_columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    conditions: tuple[Stored, ...] = ()  # what `conditions` of the data made of it (`load_data`)
    remarks: tuple[str, ...] = ()  # what a user should know of that
    pictures: NDArray[np.uint8] | None = None  # (N, C, H, W) behind the latents, one each; None: nobody knows them

    def __post_init__(self) -> None:
        """Raise InputError for what is no set of images: points, sequences, videos, or labels of another number."""
        for name, images, labels in (
            ("images", self.images, self.labels),
            ("reference images", self.reference_images, self.reference_labels),
        ):
            if len(images.shape) != 4:
                raise InputError(f"{name} are of shape {tuple(images.shape)}; images are (N, C, H, W)")
            if labels is not None and labels.shape != (len(images),):
                raise InputError(f"{len(images)} {name} have labels of shape {labels.shape}; one each is needed")
            columns = self.columns if images is self.images else self.reference_columns
            for column, values in columns.items():
                if values.shape != (len(images),):
                    raise InputError(f"{len(images)} {name} have {values.shape} values in column {column!r}")
        if self.pictures is not None and len(self.pictures) != len(self.images):
            raise InputError(f"there are {len(self.pictures)} pictures behind {len(self.images)} latents")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what the network sees."""
        channels, height, width = self.images.shape[1:]
        halves = 2 if self.encoding is not None and self.encoding.sampled else 1
        return channels // halves, height, width

    def behind(self) -> Dataset:
        """Return the same images as pictures: of latents those that they were made from, of pictures themselves.

        Raises InputError for latents of which nobody knows the pictures; components that look at them require
        "pictures".
        """
        if self.encoding is None:
            return self
        if self.pictures is None:
            raise InputError("of these latents the pictures are not known; name them in the data's `pictures`")
        flip = self.flip or self.mirrored is not None
        return replace(self, images=self.pictures, pictures=None, encoding=None, mirrored=None, flip=flip)


def image_setting(data: Data) -> InputSpec:
    """Return the data's shape, classes and conditions. Raises InputError where they are no images (C, H, W)."""
    setting = data.setting()
    if len(setting.shape) != 3 or not all(isinstance(side, int) and side > 0 for side in setting.shape):
        reason = f"data {data.name!r} are of shape {tuple(setting.shape)}"
        raise InputError(f"{reason}; a study is of images: (channels, height, width)")
    if not data.conditions:
        return setting
    columns = data.columns()
    specs = tuple(condition.spec_of(setting, columns) for condition in data.conditions)
    names = [spec.name for spec in specs]
    twice = next((name for name in names if names.count(name) > 1 or name == CLASS_COLUMN), None)
    if twice is not None:
        raise InputError(f"two conditions are called {twice!r}; give one of them another name: called: …")
    return replace(setting, conditions=specs)


def describe_data(data: Data, cache: Path) -> list[str]:
    """Return what the data are taken for, a line each, with what their conditions tell; see `Data.describe`."""
    lines = list(data.describe(cache))
    if data.conditions:
        lines.append(f"conditions: {', '.join(map(str, image_setting(data).conditions))}")
    return lines


def load_data(data: Data, cache: Path) -> Dataset:
    """Load the images, with what the data's conditions tell of them; the hash then covers both."""
    dataset = data.load(cache)
    if not data.conditions:
        return dataset
    setting, columns, names = image_setting(data), data.columns(), data.class_names()
    training = _columns(dataset.columns, dataset.labels, names)
    reference = _columns(dataset.reference_columns, dataset.reference_labels, names)
    lacking = sorted(columns.keys() - (training.keys() & reference.keys()))
    if lacking:
        raise InputError(f"data {data.name!r} have no values in column {lacking[0]!r}: have they changed? Begin again")
    stored = tuple(
        Stored(condition, spec, condition.store(training), condition.store(reference))
        for condition, spec in zip(data.conditions, setting.conditions, strict=True)
    )
    content = [[s.condition.active(), _content(s.training), _content(s.reference)] for s in stored]
    remarks = (f"condition {c.record_name!r}: {remark}" for c in data.conditions for remark in c.remarks(training))
    return replace(dataset, conditions=stored, hash=digest([dataset.hash, content]), remarks=tuple(remarks))


def _columns(
    columns: Mapping[str, NDArray[Any]], labels: NDArray[np.int64] | None, names: Sequence[str] | None
) -> dict[str, NDArray[Any]]:
    """Return the columns, and the names of the classes as one more where there are labels."""
    import numpy as np

    if labels is None:
        return dict(columns)
    known = np.array([str(i) for i in range(int(labels.max(initial=-1)) + 1)] if names is None else list(names))
    return {CLASS_COLUMN: known[labels], **columns}


def _content(array: NDArray[Any] | None) -> str | None:
    """Return the SHA-256 of an array's shape and values."""
    import hashlib

    import numpy as np

    if array is None:
        return None
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


class Data(Component):
    """A source of images; it provides "labels" where they are labelled, and "latents" where they are latents.

    Latents provide "pictures" where those behind them are known; of other data everybody knows them.
    """

    kind: ClassVar[str] = "data"

    conditions: Annotated[
        tuple[Condition, ...], Field(max_length=16), Added(before=[])
    ] = ()  # what networks are told of each image, beside its class

    @abstractmethod
    def setting(self) -> InputSpec:
        """Return shape and classes, without reading the images. Raises InputError where the source is missing."""

    @abstractmethod
    def load(self, cache: Path) -> Dataset:
        """Load the images; what is slow to make is kept under `cache` (written atomically).

        Where it has conditions, the values of its `columns` come with them, as they are now: none of an earlier state.
        """

    def columns(self) -> Mapping[str, type]:
        """Return what is known of each image beside its class, {name: str, or float}, without reading the images.

        `load` gives the values. The names of the classes are a column of every labelled data set, "class".
        """
        return {} if self.setting().classes is None else {CLASS_COLUMN: str}

    def class_names(self) -> Sequence[str] | None:
        """Return the names of the classes; None: they have none, and are called by their numbers."""
        return None

    def pictures_setting(self) -> InputSpec:
        """Return shape and classes of the pictures: behind latents, where those are known, else of the images."""
        return self.setting()

    def deviation(self) -> float | None:
        """Estimate the root mean square of what the network will see, as far as it can be told without reading all.

        None where nothing is known of it: then that of pixels in [-1, 1] is taken, 0.5.
        """
        return None

    def describe(self, cache: Path) -> Sequence[str]:
        """Describe what the data are taken for, a line each: how many, size, classes, what is left out and why.

        It reads names and headers, and what an earlier reading left in `cache`; it does not read all images.
        """
        shape, classes = "×".join(map(str, self.setting().shape)), self.setting().classes
        return [f"items of {shape}, {'no labels' if classes is None else f'{classes} classes'}"]

    def check(self, cache: Path) -> None:
        """Raise InputError for what shows only when the images are read, before a study writes anything."""
