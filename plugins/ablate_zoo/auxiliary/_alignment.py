"""Representation alignment: the projector, the cosine, and the table of a frozen teacher's features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Features, InputError, InputSpec, Labels, Model, Noised, Pictures
from ablate.io.files import write_with
from ablate.io.locks import locked

CHUNK = 256  # images that the teacher sees at a time
RESIDENT = 2 * 2**30  # bytes of a table that is kept on the device; a larger one stays in its memory-mapped file
MOST = 256 * 2**30  # bytes of a table
LAYOUT = 1  # another number for another way of making it


def grid_of(shape: tuple[int, ...], setting: InputSpec) -> tuple[int, int] | None:
    """Return rows and columns of what a block gives: maps (C, rows, columns), or tokens (L + rows·columns, D).

    The last tokens are those of patches, the L before them have joined: fewer than there are patches. None where that
    does not come out.
    """
    _, height, width = setting.shape
    if len(shape) == 3:
        return shape[1], shape[2]
    if len(shape) != 2:
        return None
    sides = [p for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
    grids = [(height // p, width // p) for p in sides if (height // p) * (width // p) <= shape[0]]
    if not grids or 2 * grids[0][0] * grids[0][1] <= shape[0]:
        return None
    return grids[0]


class Alignment(nn.Module):
    """−mean over all places of cos(projector(h), teacher's features), of activations h at a block."""

    table: TeacherTable | None = None
    teacher: Tensor  # (32,) uint8

    def __init__(
        self,
        site: str,
        shape: tuple[int, ...],
        grid: tuple[int, int],
        patches: tuple[int, int, int],
        hidden: int | None,
    ) -> None:
        super().__init__()
        self.site, self.shape, self.grid = site, shape, grid
        outputs, rows, columns = patches
        self.kept = (outputs, min(rows, grid[0]), min(columns, grid[1]))  # of the teacher, an image
        width = shape[0] if len(shape) == 3 else shape[1]
        hidden = width if hidden is None else hidden
        self.register_buffer("teacher", torch.zeros(32, dtype=torch.uint8))  # SHA-256 of the one that it began with
        self.projector = nn.Sequential(
            nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, outputs)
        )

    def forward(self, noised: Noised, labels: Labels, model: Model) -> Tensor:
        """(B,), between −1 and 1."""
        h = model.activation(self.site)
        if h.shape[1:] != self.shape:
            raise RuntimeError(
                f"block {self.site!r} gives {tuple(h.shape[1:])} in training, and {self.shape} otherwise"
            )
        h = h.flatten(2).transpose(1, 2) if h.ndim == 4 else h[:, -self.grid[0] * self.grid[1] :]  # (B, places, D)
        with model.precision():
            projected = self.projector(h)
        wanted = self._wanted(noised)  # (B, D, rows, columns)
        if wanted.shape[2:] != self.grid:
            wanted = F.interpolate(wanted, self.grid, mode="bilinear", align_corners=False)
        return -F.cosine_similarity(projected.float(), wanted.flatten(2).transpose(1, 2), dim=-1).mean(1)

    def attach(self, table: TeacherTable) -> None:
        """Take the teacher's features. Raises InputError where a training began with another teacher."""
        identity = torch.frombuffer(bytearray.fromhex(table.teacher.identity()), dtype=torch.uint8)
        if self.teacher.any() and not torch.equal(self.teacher.cpu(), identity):
            name = table.teacher.name
            raise InputError(f"the teacher {name!r} has other weights than when this training began; bring those back")
        self.teacher.copy_(identity)
        self.table = table

    def _wanted(self, noised: Noised) -> Tensor:
        if noised.x.is_meta:
            return noised.x.new_empty((len(noised.x), *self.kept))
        if self.table is None or noised.origin is None:
            raise RuntimeError("the teacher has not seen the training images: `prepare` comes before the first step")
        return self.table.rows(noised.origin.indices, noised.origin.mirrored)


class TeacherTable:
    """What a teacher sees in each training image, (N, D, rows, columns) fp16: computed once, kept in the cache."""

    def __init__(self, teacher: Features, pictures: Pictures, kept: tuple[int, int, int]) -> None:
        self.teacher = teacher
        self.pictures = pictures
        self.kept = kept
        count, device = len(pictures.dataset.images), pictures.device
        size = 2 * count * kept[0] * kept[1] * kept[2]
        if size > MOST:
            raise InputError(
                f"the features of {count:,} images by {teacher.name!r} would take {size / 2**30:.0f} GiB in the cache; "
                "choose features with fewer patches, or pooled ones"
            )
        self.resident = size <= RESIDENT
        self._tables = {False: self._table(False)}
        if pictures.dataset.flip:
            self._tables[True] = self._table(True)
        self.device = device

    def rows(self, index: Tensor, mirrored: Tensor | None) -> Tensor:
        """Return the features of these images, (B, D, rows, columns) fp32; of those that are mirrored, as mirrored."""
        plain = self._rows(False, index)
        if mirrored is None:
            return plain
        return torch.where(mirrored[:, None, None, None], self._rows(True, index), plain)

    def _rows(self, mirrored: bool, index: Tensor) -> Tensor:
        if mirrored not in self._tables:
            self._tables[mirrored] = self._table(mirrored)
        table = self._tables[mirrored]
        return table[index.to(table.device)].to(self.device, torch.float32)

    def _table(self, mirrored: bool) -> Tensor:
        data, (channels, rows, columns) = self.pictures.dataset, self.kept
        name = f"{self.teacher.identity()[:16]}-{data.hash[:16]}-{channels}x{rows}x{columns}"
        file = self.pictures.cache / "teachers" / f"{name}{'-mirrored' if mirrored else ''}-v{LAYOUT}.npy"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with locked(file.with_suffix(".lock"), self.pictures.pause):
                if not file.is_file():  # another process may have been first
                    write_with(file, lambda path: self._compute(path, data.images, mirrored))
        table = np.load(file, mmap_mode="c")
        if table.shape != (len(data.images), *self.kept):
            raise InputError(f"is {table.shape}, not the features of these images; remove it", str(file))
        return (
            torch.tensor(np.asarray(table), device=self.pictures.device) if self.resident else torch.from_numpy(table)
        )

    def _compute(self, path: Path, images: NDArray[Any], mirrored: bool) -> None:
        look = self.teacher.build_patches(self.pictures.device)
        with path.open("wb") as handle:
            shape = (len(images), *self.kept)
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(handle, header)
            for first in range(0, len(images), CHUNK):
                self.pictures.pause()
                part = torch.from_numpy(np.ascontiguousarray(images[first : first + CHUNK])).to(self.pictures.device)
                seen = look(part.flip(-1) if mirrored else part)
                seen = F.adaptive_avg_pool2d(seen.float(), self.kept[1:])
                handle.write(seen.cpu().numpy().astype("<f2").tobytes())
