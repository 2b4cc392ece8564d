"""data `latents`: latents that an autoencoder made of images, for latent diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ablate.api import Added, Data, Dataset, Encoding, InputError, InputSpec, When, digest
from ablate.io.files import stamp
from ablate.pictures import Pictures, open_pictures
from ablate_zoo.data._behind import check_behind
from ablate_zoo.data._latents import StoredLatents, open_latents, read_statistics
from ablate_zoo.data._pictures import describe_classes, read_into
from ablate_zoo.data._store import cached_arrays, content_hash, create_npy

if TYPE_CHECKING:
    from numpy.typing import NDArray

Positive = Annotated[float, Field(gt=0, le=1e6)]
Finite = Annotated[float, Field(ge=-1e6, le=1e6)]


class Latents(Data):
    """Latents z that were stored beforehand; the network sees x = (z − shift)·scale.

    fast-DiT stores samples times 0.18215, an npy each (`normalised: true`). EDM2 stores mean ‖
    standard deviation, unscaled (`stored: mean_std`, `shift: [5.81, 3.25, 0.12, -2.15]`, `scale: [0.12,
    0.108, 0.135, 0.152]`); z is then drawn anew each time. safetensors hold `latents`, `latents_flip`
    and `labels`, in one file or several. What the network draws is measured in pixels: the study
    names the decoder (`evaluate: {autoencoder: {type: vae, path: ...}}`), which can be another one
    later. The reference are pictures, which must not be among those that were encoded. `pictures` are those
    that were, in the order of the latents: for a teacher that sees pictures, such as that of auxiliary `repa`.
    """

    name = "latents"

    path: str  # a folder, a .zip, an .npy or a .safetensors
    reference: str  # pictures to measure against: a folder, a .zip or an .npz; nobody knows whether they were encoded
    reference_size: Annotated[int | None, Field(ge=4, le=4096)] = None  # their side in pixels; None: as they are
    stored: Literal["sample", "mean_std"] = "sample"  # mean_std: twice the channels, drawn from at each look
    normalised: bool = False  # shift and scale have been applied to what is stored
    statistics: Literal["given", "file", "measured"] = (
        "given"  # mean and deviation of each channel, for shift and scale
    )
    shift: Annotated[Finite | tuple[Finite, ...], When("statistics", ("given",))] = 0.0  # one, or one a channel
    scale: Positive | tuple[Positive, ...] = 0.18215  # with statistics, a factor beside 1/deviation
    flip: Literal["none", "stored", "mirror"] = "none"  # stored: latents_flip; mirror: of the latents, an approximation
    labels: Literal["file", "none"] = "file"  # file: where there are any
    # None: as the labels say, all of which are then read at once.
    classes: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    pictures: Annotated[str | None, Added(None)] = None  # those that were encoded, in the order of the latents
    pictures_size: Annotated[int | None, Field(ge=4, le=4096), Added(None)] = None  # their side; None: as they are

    def provides(self) -> frozenset[str]:
        """Latents; labels where they are; the pictures behind them, where they are named."""
        try:
            labelled = self.setting().classes is not None
        except (InputError, OSError):
            labelled = False
        known = {"labels": labelled, "pictures": self.pictures is not None}
        return frozenset({"latents", *(word for word, there in known.items() if there)})

    def requires(self) -> Mapping[str, str]:
        """A decoder."""
        why = "latents are measured and shown as pixels; say evaluate: {autoencoder: {type: vae, path: ...}}"
        return {"decoder": why}

    def setting(self) -> InputSpec:
        """Shape of a latent, and the classes. Raises InputError where files or options do not fit."""
        path = self.located(self.path)
        return _setting(self, stamp(path) if path.exists() else "")

    def pictures_setting(self) -> InputSpec:
        """That of the pictures that were encoded, where they are named."""
        if self.pictures is None:
            return self.setting()
        place = self.located(self.pictures)
        return InputSpec(_shape_behind(self, stamp(place) if place.exists() else ""), self.setting().classes)

    def deviation(self) -> float | None:
        """Of the first latents: about 1 where an autoencoder's own scale makes them so, `scale` by statistics."""
        try:
            first = next(self._files().batches())
            sums = _ChannelSums(self.setting().shape[0], self.stored == "mean_std", self.path)
            sums.add(first)
            mean, spread = sums.moments()
            encoding = self._encoding(sums.channels, mean, spread)
        except (InputError, OSError, ValueError):  # told when they are read
            return None
        z = zip(mean, spread, encoding.shift, encoding.scale, strict=True)
        squares = [m**2 + s**2 if self.normalised else ((m - shift) ** 2 + s**2) * scale**2 for m, s, shift, scale in z]
        return float(np.sqrt(np.mean(squares)))

    def describe(self, cache: Path) -> list[str]:
        """Latents, classes, and the pictures that they are measured against."""
        files, setting, reference = self._files(), self.setting(), self._reference()
        shape = "×".join(map(str, setting.shape))
        kind = "mean and deviation of each, drawn anew at each look" if self.stored == "mean_std" else "samples"
        labels = files.labels() if setting.classes is not None else None
        against = (
            f"measured against {len(reference)} pictures of {self.reference}, which must not be among those encoded"
        )
        notes = [f"reference: {note}" for note in reference.source.notes]
        if (pictures := self._behind()) is not None:
            notes.append(f"the pictures that were encoded are known: {len(pictures)} of {self.pictures}")
        return [
            f"{files.count} latents of {shape} ({kind}); {against}",
            describe_classes(labels, setting.classes, None),
            *notes,
        ]

    def check(self, cache: Path) -> None:
        """Read everything, into the cache."""
        self.load(cache)

    def load(self, cache: Path) -> Dataset:
        """Latents and reference pictures, memory-mapped from `cache`."""
        files, setting = self._files(), self.setting()
        reference, behind = self._reference(), self._behind()
        stamps = [pictures.stamp() for pictures in (reference, behind) if pictures is not None]
        own = {name: value for name, value in self.active().items() if name != "conditions"}
        key = digest([str(files.path.resolve()), files.stamp(), *stamps, own])[:32]
        arrays, facts = cached_arrays(
            cache / "data", key, lambda folder: self._make(files, reference, behind, setting, folder)
        )
        return Dataset(
            arrays["images"],
            arrays.get("labels"),
            arrays["reference_images"],
            arrays.get("reference_labels"),
            classes=setting.classes,
            hash=facts["hash"],
            flip=self.flip == "mirror",
            mirrored=arrays.get("mirrored"),
            encoding=self._encoding(setting.shape[0], facts["mean"], facts["deviation"]),
            pictures=arrays.get("pictures"),
        )

    def _files(self) -> StoredLatents:
        return open_latents(self.located(self.path))

    def _reference(self) -> Pictures:
        return open_pictures(self.located(self.reference), size=self.reference_size)

    def _behind(self) -> Pictures | None:
        """Return the pictures that were encoded. Raises InputError where they are others."""
        if self.pictures is None:
            return None
        pictures, count = open_pictures(self.located(self.pictures), size=self.pictures_size), self._files().count
        if len(pictures) != count:
            raise InputError(f"holds {len(pictures)} pictures, and there are {count} latents: one each", self.pictures)
        return pictures

    def _encoding(self, channels: int, mean: list[float], deviation: list[float]) -> Encoding:
        scale = _channels(self.scale, channels, "scale")
        if self.statistics == "given":
            shift = _channels(self.shift, channels, "shift")
        else:
            moments = (mean, deviation) if self.statistics == "measured" else read_statistics(self.located(self.path))
            shift = _channels(tuple(moments[0]), channels, "the mean of the statistics")
            scale = tuple(s / d for s, d in zip(scale, moments[1], strict=True))
        return Encoding(shift, scale, self.normalised, self.stored == "mean_std")

    def _make(
        self, files: StoredLatents, reference: Pictures, behind: Pictures | None, setting: InputSpec, folder: Path
    ) -> dict[str, Any]:
        """Write the arrays a batch at a time, and look at every number."""
        shape = (files.count, *files.shape)
        dtype = np.float16 if files.dtype == np.float16 else np.float32
        parts: dict[str, NDArray[Any]] = {"images": create_npy(folder / "images.npy", shape, dtype)}
        sums = _ChannelSums(setting.shape[0], self.stored == "mean_std", self.path)
        _fill(parts["images"], files.batches(), sums)
        if self.flip == "stored":
            parts["mirrored"] = create_npy(folder / "mirrored.npy", shape, dtype)
            _fill(parts["mirrored"], files.batches(mirrored=True), sums)
        labels = files.labels() if setting.classes is not None else None
        if labels is not None:
            if labels.max() >= (setting.classes or 0):
                raise InputError(f"a label is {labels.max()}, beyond the {setting.classes} classes", self.path)
            parts["labels"] = _written(folder / "labels.npy", labels)
        if behind is not None:
            parts["pictures"], own, *_ = read_into(folder / "pictures.npy", behind)
            z = parts["images"][:, : setting.shape[0]]
            check_behind(parts["pictures"], own, z, labels, str(self.pictures))
        parts["reference_images"], own, *_ = read_into(folder / "reference_images.npy", reference)
        if labels is not None and own is not None:
            parts["reference_labels"] = _written(folder / "reference_labels.npy", own)
        mean, deviation = sums.moments()
        return {"hash": content_hash(*(parts[n] for n in sorted(parts))), "mean": mean, "deviation": deviation}


class _ChannelSums:
    """Mean and deviation of each channel of z, in float64, over all that passes."""

    def __init__(self, channels: int, sampled: bool, where: str) -> None:
        self.channels, self.sampled, self.where = channels, sampled, where
        self.count = 0
        self.first, self.second = np.zeros(channels), np.zeros(channels)

    def add(self, batch: NDArray[Any]) -> None:
        """Take a batch as it is stored. Raises InputError for what cannot be a latent."""
        if not np.isfinite(batch).all():
            raise InputError("there are latents that are not finite", self.where)
        z = batch[:, : self.channels].astype(np.float64)
        self.count += z[:, 0].size
        self.first += z.sum((0, 2, 3))
        self.second += np.square(z).sum((0, 2, 3))
        if self.sampled:
            deviation = batch[:, self.channels :].astype(np.float64)
            if deviation.min() < 0:
                raise InputError("deviations below 0: are these samples? Then say stored: sample", self.where)
            self.second += np.square(deviation).sum((0, 2, 3))

    def moments(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation, (C,) each."""
        mean = self.first / self.count
        variance = self.second / self.count - np.square(mean)
        if variance.min() <= 0:
            raise InputError("a channel of the latents is constant", self.where)
        return mean.tolist(), np.sqrt(variance).tolist()


def _fill(array: NDArray[Any], batches: Any, sums: _ChannelSums) -> None:
    done = 0
    for batch in batches:
        sums.add(batch)
        array[done : done + len(batch)] = batch
        done += len(batch)


def _written(path: Path, values: NDArray[np.int64]) -> NDArray[np.int64]:
    array = create_npy(path, values.shape, np.int64)
    array[:] = values
    return array


def _channels(value: float | tuple[float, ...], channels: int, what: str) -> tuple[float, ...]:
    values = value if isinstance(value, tuple) else (value,) * channels
    if len(values) != channels:
        raise InputError(f"{what} has {len(values)} values, and the latents {channels} channels")
    return values


@lru_cache(maxsize=8)
def _shape_behind(data: Latents, freshness: str) -> tuple[int, int, int]:
    pictures = data._behind()
    assert pictures is not None
    return pictures.shape()


@lru_cache(maxsize=8)
def _setting(data: Latents, freshness: str) -> InputSpec:
    files = data._files()
    data._reference()
    data._behind()
    channels, height, width = files.shape
    if files.count < 2:
        raise InputError("there is one latent alone; a set has at least two", data.path)
    if files.dtype.kind != "f":
        raise InputError(f"latents are {files.dtype}, not floats; are these pictures?", data.path)
    if data.stored == "mean_std" and channels % 2:
        raise InputError(f"mean ‖ std have twice the channels, and {channels} is odd; say stored: sample", data.path)
    if data.flip == "stored" and not files.has_mirrored:
        raise InputError("there are no latents_flip; say flip: mirror, or none", data.path)
    channels //= 2 if data.stored == "mean_std" else 1
    data._encoding(channels, [0.0] * channels, [1.0] * channels)
    classes = None
    if data.labels == "file" and files.has_labels:
        classes = data.classes
        if classes is None:
            labels = files.labels()
            classes = None if labels is None else int(labels.max()) + 1
    return InputSpec((channels, height, width), classes)
