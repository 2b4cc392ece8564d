"""data `npz`: images as one numpy array."""

from __future__ import annotations

from typing import Any, Literal

from ablate.api import InputError
from ablate.pictures import Pictures, open_pictures
from ablate_zoo.data._pictures import FileData


class Npz(FileData):
    """uint8 images in an npz: `arr_0` (and labels in `arr_1`), as ADM writes it, or `images` and `labels`.

    Arrays that are called otherwise are named. (N, H, W, C), (N, C, H, W) or (N, H, W); an npy holds images
    alone. An array that was saved uncompressed is not loaded into memory. Pickled objects are never read.
    """

    name = "npz"

    labels: Literal["file", "none"] = "file"  # file: the array of labels, where there is one
    image_array: str | None = None  # name of the array of images; None: images, or arr_0
    label_array: str | None = None  # name of the array of labels; None: labels, or arr_1

    def active(self) -> dict[str, Any]:
        """A name that was not given is no part of the identity."""
        unnamed = [name for name in ("image_array", "label_array") if getattr(self, name) is None]
        return {key: value for key, value in super().active().items() if key not in unnamed}

    def pictures(self) -> Pictures:
        """The array's images."""
        path = self.located(self.path)
        if path.exists() and path.suffix.lower() not in (".npz", ".npy"):
            raise InputError(f"this is no .npz; is it type: {'folder' if path.is_dir() else 'zip'}?", self.path)
        names = (self.image_array, self.label_array)
        return open_pictures(path, labels=self.labels, arrays=names, **self.options())
