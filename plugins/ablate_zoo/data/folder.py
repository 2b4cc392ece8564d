"""data `folder`: the picture files below a folder."""

from __future__ import annotations

from ablate.api import InputError
from ablate.pictures import Labelling, Pictures, open_pictures
from ablate_zoo.data._pictures import FileData


class FolderData(FileData):
    """png, jpg, webp, bmp, gif, tif and ppm files below a folder and its sub-folders.

    Labels come from a `dataset.json` in it ({"labels": [["path", class], ...]}, as EDM writes it), or
    from the names of sub-folders in alphabetical order. Hidden files are left out, and so are links to
    what the folder holds anyway; a link that leads out of it is an error.
    """

    name = "folder"

    labels: Labelling = "file"  # file: dataset.json, where there is one; folders: a class each

    def pictures(self) -> Pictures:
        """The folder's pictures."""
        path = self.located(self.path)
        if path.is_file():
            raise InputError("this is a file, not a folder; say type: zip, or type: npz", self.path)
        return open_pictures(path, labels=self.labels, **self.options())
