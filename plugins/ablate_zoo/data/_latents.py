"""Files of latents: safetensors shards, one npy for each image (in a folder or a zip), or one npy for all."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.api import InputError
from ablate.pictures.archive import open_zip
from ablate.pictures.arrays import open_npy
from ablate.pictures.folder import list_files
from ablate.pictures.labels import FILE, checked, from_json
from ablate.pictures.source import stamp_of

if TYPE_CHECKING:
    from zipfile import ZipFile

    from numpy.typing import NDArray

_BATCH = 256  # latents that are in memory at a time
STATISTICS = "latents_stats.safetensors"


class StoredLatents(ABC):
    """Stored latents in a fixed order."""

    path: Path
    count: int
    shape: tuple[int, ...]  # of one, as it is stored
    dtype: np.dtype[Any]
    has_mirrored: bool = False  # latents of the mirrored images lie beside them
    has_labels: bool = False

    @abstractmethod
    def batches(self, mirrored: bool = False) -> Iterator[NDArray[Any]]:
        """(B, ...) as they are stored, in order."""

    @abstractmethod
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) classes, where they are."""

    @abstractmethod
    def stamp(self) -> str:
        """A text that changes when the files do."""


def open_latents(path: Path) -> StoredLatents:
    """Open the latents of a folder or file. Raises InputError where there are none."""
    if path.is_dir():
        shards = sorted(p for p in path.glob("*.safetensors") if p.name != STATISTICS)
        return Shards(path, shards) if shards else Singles(path)
    if not path.is_file():
        raise InputError("there is no such folder or file of latents", str(path))
    kinds = {".npy": Whole, ".zip": Singles, ".safetensors": lambda one: Shards(one, [one])}
    if path.suffix not in kinds:
        raise InputError("latents are read from a folder, a .zip, an .npy or a .safetensors", str(path))
    latents: StoredLatents = kinds[path.suffix](path)
    return latents


class Whole(StoredLatents):
    """One npy (N, C, H, W), memory-mapped; without labels."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._array = open_npy(path)
        if self._array.ndim != 4:
            raise InputError(f"latents are (N, C, H, W), not {self._array.shape}", str(path))
        self.count, self.shape, self.dtype = len(self._array), self._array.shape[1:], self._array.dtype

    def batches(self, mirrored: bool = False) -> Iterator[NDArray[Any]]:
        """Parts of the array."""
        for begin in range(0, self.count, _BATCH):
            yield self._array[begin : begin + _BATCH]

    def labels(self) -> None:
        """None: there is no place for them."""

    def stamp(self) -> str:
        """Size and time."""
        return stamp_of(self.path)


class Singles(StoredLatents):
    """One npy for each image, (C, H, W) or (1, C, H, W), below a folder or in a zip.

    Labels stand in dataset.json (EDM2), or in npy files of the same names: beside a folder
    `*_features` lies a folder `*_labels` (fast-DiT).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: ZipFile | None = None
        files: Collection[str]
        if path.is_file():
            self._zip, files = open_zip(path)
        else:
            files = set(list_files(path))
        names = [name for name in files if name.endswith(".npy")]
        features = [name for name in names if name.partition("/")[0].endswith("_features")]
        self._pairs = bool(features)
        self.names = sorted(features or names, key=_order)
        if not self.names:
            raise InputError("there are neither .npy nor .safetensors files of latents here", str(path))
        self._table = FILE if FILE in files and not features else None
        self.count, self.has_labels = len(self.names), self._pairs or self._table is not None
        first = self._latent(self.names[0])
        self.shape, self.dtype = first.shape, first.dtype

    def batches(self, mirrored: bool = False) -> Iterator[NDArray[Any]]:
        """Some files at a time."""
        for begin in range(0, self.count, _BATCH):
            part = [self._latent(name) for name in self.names[begin : begin + _BATCH]]
            odd = next((i for i, one in enumerate(part) if one.shape != self.shape), None)
            if odd is not None:
                shapes = f"{self.names[begin + odd]} is {part[odd].shape}, and {self.names[0]} {self.shape}"
                raise InputError(f"latents of different shapes: {shapes}", str(self.path))
            yield np.stack(part)

    def labels(self) -> NDArray[np.int64] | None:
        """From the table, or from as many files as there are latents."""
        if self._table:
            return from_json(self._bytes(self._table), self.names, f"{self.path}:{self._table}")
        if not self._pairs:
            return None
        values = [self._array(_label_of(name)).reshape(-1) for name in self.names]
        odd = next((name for name, value in zip(self.names, values, strict=True) if value.size != 1), None)
        if odd is not None:
            raise InputError(f"{_label_of(odd)} holds not one label", str(self.path))
        return checked(np.concatenate(values), self.count, str(self.path))

    def stamp(self) -> str:
        """Of the zip; or names, sizes and times of all files."""
        if self._zip is not None:
            return stamp_of(self.path)
        return "\n".join(f"{name} {stamp_of(self.path / name)}" for name in self.names)

    def _latent(self, name: str) -> NDArray[Any]:
        latent = self._array(name)
        latent = latent[0] if latent.ndim == 4 and len(latent) == 1 else latent
        if latent.ndim != 3:
            raise InputError(f"{name} is {latent.shape}, not (C, H, W)", str(self.path))
        return latent

    def _array(self, name: str) -> NDArray[Any]:
        try:
            array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(self._bytes(name)), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{name} is damaged, or no array of numbers ({error})", str(self.path)) from None
        return array

    def _bytes(self, name: str) -> bytes:
        try:
            return self._zip.read(name) if self._zip else (self.path / name).read_bytes()
        except (OSError, KeyError, ValueError, EOFError) as error:
            raise InputError(f"{name} cannot be read ({error})", str(self.path)) from None


class Shards(StoredLatents):
    """safetensors with `latents`, and perhaps `latents_flip` and `labels`, in one file or several."""

    def __init__(self, path: Path, shards: list[Path]) -> None:
        self.path = path
        self._shards = shards
        headers = [_tensors(shard) for shard in shards]
        for shard, tensors in zip(shards, headers, strict=True):
            if "latents" not in tensors:
                raise InputError(f"there is no tensor 'latents', only {', '.join(tensors) or 'nothing'}", str(shard))
            if tensors["latents"][0][1:] != headers[0]["latents"][0][1:] or len(tensors["latents"][0]) != 4:
                raise InputError(f"latents are (N, C, H, W) of one size, not {tensors['latents'][0]}", str(shard))
        self.shape = headers[0]["latents"][0][1:]
        self.dtype = headers[0]["latents"][1]
        self.count = sum(tensors["latents"][0][0] for tensors in headers)
        self.has_labels, self.has_mirrored = (all(n in t for t in headers) for n in ("labels", "latents_flip"))

    def batches(self, mirrored: bool = False) -> Iterator[NDArray[Any]]:
        """Slices of each file in turn."""
        from safetensors import safe_open

        for shard in self._shards:
            with safe_open(shard, framework="numpy") as file:
                rows = file.get_slice("latents_flip" if mirrored else "latents")
                count = rows.get_shape()[0]
                for begin in range(0, count, _BATCH):
                    yield rows[begin : min(begin + _BATCH, count)]

    def labels(self) -> NDArray[np.int64] | None:
        """Of all files, in order."""
        from safetensors import safe_open

        if not self.has_labels:
            return None
        labels = []
        for shard in self._shards:
            with safe_open(shard, framework="numpy") as file:
                labels.append(file.get_tensor("labels").reshape(-1))
        return checked(np.concatenate(labels), self.count, str(self.path))

    def stamp(self) -> str:
        """Names, sizes and times."""
        return "\n".join(f"{shard.name} {stamp_of(shard)}" for shard in self._shards)


def read_statistics(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read mean and standard deviation of each channel from `latents_stats.safetensors` beside the latents."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = path if path.is_dir() else path.parent
    file = folder / STATISTICS
    if not file.is_file():
        beside = "; a .pt file is a pickle, which is not read" if (folder / "latents_stats.pt").exists() else ""
        message = (
            f"there is no statistics file here{beside}; write `mean` and `std` into one, or say statistics: measured"
        )
        raise InputError(message, str(file))
    try:
        tensors = load_file(file)
        mean, std = (tuple(map(float, tensors[name].reshape(-1))) for name in ("mean", "std"))
    except (SafetensorError, KeyError, TypeError, OSError) as error:
        raise InputError(f"no tensors `mean` and `std` can be read here ({error})", str(file)) from None
    if len(mean) != len(std) or not all(s > 0 for s in std):
        raise InputError("`mean` and `std` have to be of one length, and every deviation above 0", str(file))
    return mean, std


def _tensors(file: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Read shape and type of each tensor from the header."""
    from safetensors import SafetensorError, safe_open

    types = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "I64": np.int64, "I32": np.int32}
    try:
        with safe_open(file, framework="numpy") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
            header = {name: (tuple(rows.get_shape()), rows.get_dtype()) for name, rows in slices.items()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"no safetensors file, or a damaged one ({error})", str(file)) from None
    latents = header.get("latents")
    if latents is not None and latents[1] not in ("F16", "F32", "F64"):
        raise InputError(f"latents are {latents[1]}; save them as fp16 or fp32", str(file))
    return {name: (shape, np.dtype(types.get(kind, np.void))) for name, (shape, kind) in header.items()}


def _order(name: str) -> tuple[str, int, str]:
    """Sort numbers in the order of numbers: fast-DiT writes 0.npy … 1281166.npy."""
    path = Path(name)
    return str(path.parent), int(path.stem) if path.stem.isdecimal() else -1, name


def _label_of(name: str) -> str:
    folder, _, rest = name.partition("/")
    return f"{folder.removesuffix('_features')}_labels/{rest}"
