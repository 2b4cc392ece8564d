"""npz: images as one numpy array."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ablate.api import InputError
from ablate.pictures import Pictures, open_pictures
from ablate_zoo.data._pictures import FileData


class Npz(FileData):
    """uint8 images in an npz: `arr_0` (and labels in `arr_1`), as ADM writes it, or `images` and `labels`.

    (N, H, W, C), (N, C, H, W) or (N, H, W); an npy holds images alone. An array that was saved
    uncompressed is not loaded into memory. Pickled objects are never read.
    """

    name = "npz"

    labels: Literal["file", "none"] = "file"  # file: the array of labels, where there is one

    def pictures(self) -> Pictures:
        """The array's images."""
        path = Path(self.path).expanduser()
        if path.exists() and path.suffix.lower() not in (".npz", ".npy"):
            raise InputError(f"this is no .npz; is it type: {'folder' if path.is_dir() else 'zip'}?", self.path)
        return open_pictures(path, labels=self.labels, **self.options())
