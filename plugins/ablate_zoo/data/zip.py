"""data `zip`: the picture files of a zip archive, as EDM's dataset tool writes it."""

from __future__ import annotations

from ablate.api import InputError
from ablate.pictures import Labelling, Pictures, open_pictures
from ablate_zoo.data._pictures import FileData


class Zip(FileData):
    """An archive of picture files with labels in its `dataset.json`, the format of StyleGAN3 and EDM.

    {"labels": [["00000/img00000000.png", 6], ...]}, or null where there are none. Nothing is unpacked;
    an archive whose paths lead out of it, or that would unfold without bound, is refused.
    """

    name = "zip"

    labels: Labelling = "file"  # file: dataset.json, where there is one; folders: a class each

    def pictures(self) -> Pictures:
        """The archive's pictures."""
        path = self.located(self.path)
        if path.exists() and path.suffix.lower() != ".zip":
            kind = "folder" if path.is_dir() else "npz"
            raise InputError(f"this is no .zip; is it type: {kind}?", self.path)
        return open_pictures(path, labels=self.labels, **self.options())
