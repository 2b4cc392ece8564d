"""The interface of sources of images (folder, archive, array): a list of names, and a method that reads one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.io.files import stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Source(ABC):
    """Pictures in a fixed order. `pixels` may be called from several threads at once."""

    path: Path
    names: Sequence[str]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None  # names of the classes, where they have any
    notes: Sequence[str] = ()  # for people: what was left out and why, and what might be meant otherwise
    remarks: list[str]  # of pictures that were read: one for each that a viewer shows otherwise

    def __init__(self) -> None:
        self.remarks = []

    @abstractmethod
    def pixels(self, i: int) -> NDArray[np.uint8]:
        """Decode picture number i, (C, H, W) uint8; raises Damaged where it cannot be decoded."""

    @abstractmethod
    def stamp(self) -> str:
        """Return a text that changes when the source does, without reading its pictures: sizes and times of files."""

    def columns(self) -> Mapping[str, type]:
        """Return what else is known of each picture, {name: str or float}, without reading the pictures."""
        return {}

    def values(self) -> Mapping[str, NDArray[Any]]:
        """Read the columns, (N,) each, anew: text as objects, None where it is missing; numbers as float64, or NaN."""
        return {}


def describe_columns(columns: Mapping[str, type]) -> str:
    """Describe columns for people: `caption (text), score (number)`."""
    return ", ".join(f"{name} ({'text' if kind is str else 'number'})" for name, kind in columns.items())


def stamp_of(path: Path) -> str:
    """Return a text that changes when a file does: see `ablate.io.files.stamp`."""
    return stamp(path)
