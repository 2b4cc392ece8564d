"""data `idx`: images in the files of MNIST, such as Fashion-MNIST."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from ablate.api import InputError
from ablate.pictures import Pictures, Source
from ablate.pictures.labels import checked
from ablate.pictures.source import stamp_of
from ablate_zoo.data._pictures import FileData

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST = 2**31  # bytes that a file may unfold into: thirty times MNIST


class Idx(FileData):
    """Grey images and their labels in `train-images-idx3-ubyte.gz` and its like (LeCun et al. 1998), or unpacked.

    Debian's package dataset-fashion-mnist (70,000 images, 28×28, ten classes, MIT licence) lies where
    `path` looks; its `t10k` files are a part of their own.
    """

    name = "idx"

    path: str = "/usr/share/datasets/fashion-mnist"  # a folder
    part: Literal["train", "t10k"] = "train"
    labels: Literal["file", "none"] = "file"
    size: Annotated[int | None, Field(ge=4, le=512)] = None

    def pictures(self) -> Pictures:
        """The images of one part."""
        options = self.options()
        arguments = (options["size"], options["rule"], options["colour"], options["limit"], options["skip_corrupt"])
        return Pictures(_Files(self.located(self.path), self.part, self.labels == "file"), *arguments)


class _Files(Source):
    """Both files of a part, unpacked into memory."""

    def __init__(self, path: Path, part: str, labelled: bool) -> None:
        super().__init__()
        self.path = path
        self._files = [_locate(path, f"{part}-images-idx3-ubyte")]
        self._images = _read(self._files[0], 3)
        self.names = [f"image {i}" for i in range(len(self._images))]
        if labelled:
            self._files.append(_locate(path, f"{part}-labels-idx1-ubyte"))
            self.labels = checked(_read(self._files[1], 1), len(self._images), str(self._files[1]))

    def pixels(self, i: int) -> NDArray[np.uint8]:
        """(1, H, W) of one image."""
        return self._images[i][None].copy()

    def stamp(self) -> str:
        """Size and time of the files."""
        return " ".join(map(stamp_of, self._files))


def _locate(folder: Path, name: str) -> Path:
    for file in (folder / f"{name}.gz", folder / name):
        if file.is_file():
            return file
    message = f"there is no {name}, plain or with .gz, in this folder; Fashion-MNIST: apt install dataset-fashion-mnist"
    raise InputError(message, str(folder))


def _read(file: Path, axes: int) -> NDArray[np.uint8]:
    """Read the format: 0, 0, 8 (bytes), number of axes, each axis' length as a big-endian int32, then the values."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            head = np.frombuffer(stream.read(4 * (axes + 1)), dtype=">i4").astype(np.int64)
            if len(head) != axes + 1 or head[0] != 0x0800 + axes or head[1:].min() < 1 or head[1:].prod() > _MOST:
                raise ValueError("another header than the format's")
            content = stream.read(int(head[1:].prod()) + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"no idx file, or a damaged one ({error})", str(file)) from None
    if len(content) != head[1:].prod():
        raise InputError(f"{'cut short' if len(content) < head[1:].prod() else 'longer than it says'}", str(file))
    return np.frombuffer(content, dtype=np.uint8).reshape(head[1:])
