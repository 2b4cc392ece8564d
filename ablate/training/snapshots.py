"""Snapshots of the averaged weights (post-hoc EMA), one file each, which stay in the trial's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ablate.errors import InputError
from ablate.io.files import file_hash, sweep
from ablate.kinds.ema import Average
from ablate.training.checkpoint import write_tensors


class Snapshots:
    """`<folder>/<images>.safetensors`. Files are renamed into place when they are whole: what is there counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashes: dict[str, str] = {}  # {name: SHA-256}: a checkpoint keeps it

    def expect(self, hashes: Mapping[str, str]) -> None:
        """Set the hashes that the files must have, from a checkpoint. {}: of an earlier version, nothing is checked."""
        self.hashes = dict(hashes)

    @property
    def images(self) -> list[int]:
        """Return the images seen at each finished snapshot, ascending."""
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.safetensors"))

    def load(self, images: int) -> dict[str, Tensor]:
        """Load one snapshot in fp32, on the CPU. Raises InputError where the file is damaged or gone."""
        file = self._file(images)
        try:
            if self.hashes.get(file.stem, actual := file_hash(file)) != actual:
                raise InputError("the snapshot is not the one that the trial left; it does not count", str(file))
            return {name: value.float() for name, value in load_file(file).items()}
        except (OSError, SafetensorError) as error:
            raise InputError(f"the snapshot cannot be read: {error}", str(file)) from None

    def keep(self, images: int, tensors: Mapping[str, Tensor]) -> None:
        """Save one snapshot, if there is anything in it. Raises OSError where the disk refuses."""
        if tensors:
            file = self._file(images)
            write_tensors(file, tensors)
            self.hashes[file.stem] = file_hash(file)

    def drop_after(self, images: int) -> None:
        """Delete snapshots from after the point at which a training resumes, and half-written files."""
        with contextlib.suppress(FileNotFoundError):
            sweep(self.folder)
        for later in self.images:
            if later > images:
                self._file(later).unlink(missing_ok=True)
                self.hashes.pop(self._file(later).stem, None)

    def _file(self, images: int) -> Path:
        return self.folder / f"{images:012d}.safetensors"


class SnapshotsUntilNow:
    """The snapshots of a training that goes on, and its averages of this moment as the last one (not stored)."""

    def __init__(self, stored: Snapshots, average: Average, images: int) -> None:
        self._stored = stored
        self._now = {name: value.float().cpu() for name, value in average.snapshot().items()}
        self._images = images

    @property
    def images(self) -> list[int]:
        """Images seen at each, ascending."""
        before = [images for images in self._stored.images if images < self._images]
        return [*before, self._images] if self._now else before

    def load(self, images: int) -> Mapping[str, Tensor]:
        """Load one in fp32, on the CPU. Raises InputError where the file is damaged or gone."""
        return self._now if images == self._images else self._stored.load(images)
