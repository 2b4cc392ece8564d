"""Read the labels of pictures: from EDM's dataset.json, from the names of sub-folders, or from an array."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ablate.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Labelling = Literal["file", "folders", "none"]
FILE = "dataset.json"
PARTS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "evaluation"}
MOST_CLASSES = 100_000  # one stray label of 10^9 would be an embedding of as many rows


def from_json(text: bytes, names: Sequence[str], where: str) -> NDArray[np.int64] | None:
    """Read the labels (N,) of `names` from `{"labels": [[path, class], ...]}`; None where that is null.

    Raises InputError where a picture has no label, a label no picture, or one is no class number.
    """
    try:
        document = json.loads(text)
        pairs = document["labels"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        expected = 'expected {"labels": [["path", class], ...]} or {"labels": null}'
        raise InputError(f"{expected}, and found something else ({type(error).__name__})", where) from None
    if pairs is None:
        return None
    if not isinstance(pairs, list) or not all(map(_pair, pairs)):
        wrong = "a list" if not isinstance(pairs, list) else next(str(pair)[:60] for pair in pairs if not _pair(pair))
        raise InputError(f"labels are pairs of a path and a class number, not {wrong}", where)
    by_path = {str(PurePosixPath(path.replace("\\", "/"))): label for path, label in pairs}
    if len(by_path) < len(pairs):
        raise InputError(f"{len(pairs) - len(by_path)} pictures have two labels", where)
    missing = [name for name in names if name not in by_path]
    if missing:
        raise InputError(f"{len(missing)} of {len(names)} pictures have no label, such as {missing[0]}", where)
    if len(by_path) > len(names):
        stray = min(by_path.keys() - set(names))
        raise InputError(f"{len(by_path) - len(names)} labels are of no picture, such as {stray}", where)
    return checked(np.array([by_path[name] for name in names], dtype=np.int64), len(names), where)


def from_folders(names: Sequence[str], where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Derive labels (N,) and class names from sub-folders, in alphabetical order: the first level that differs.

    Raises InputError where pictures lie outside of any, in one alone, or in the parts of a data set.
    """
    parts = [PurePosixPath(name).parts[:-1] for name in names]
    common = 0
    while all(len(p) > common for p in parts) and len({p[common] for p in parts}) == 1:
        common += 1
    bare = next((name for name, p in zip(names, parts, strict=True) if len(p) <= common), None)
    if common and all(len(p) == common for p in parts):
        folder = "/".join(parts[0][:common])
        why = f"all pictures lie in one folder, {folder!r}, so there is one class alone"
        raise InputError(f"{why}; give the folder above the classes, or say labels: none", where)
    if bare is not None:
        raise InputError(f"classes by sub-folder need every picture in one, and {bare} lies in none", where)
    classes = sorted({p[common] for p in parts})
    if {name.lower() for name in classes} <= PARTS:
        why = f"the sub-folders {' and '.join(classes)} are parts of a data set, not classes"
        raise InputError(f"{why}: give one of them as the path", where)
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[p[common]] for p in parts], dtype=np.int64), tuple(classes)


def looks_like(names: Sequence[str]) -> str | None:
    """Format a note on sub-folders that are not taken for classes; None where there are none."""
    parts = [PurePosixPath(name).parts[:-1] for name in names]
    first = sorted({p[0] for p in parts if p})
    if len(first) < 2 or any(not p for p in parts):
        return None
    listing = ", ".join(first[:4]) + (", …" if len(first) > 4 else "")
    if {name.lower() for name in first} <= PARTS:
        return f"the parts {listing} are taken together; give one of them as the path to take it alone"
    return f"the sub-folders {listing} are not taken for classes; labels: folders does that"


def checked(labels: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
    """Check labels; return them as int64 (N,). Raises InputError for a wrong number, vectors, fractions, negatives."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise InputError(f"{count} pictures, and labels of shape {labels.shape}; there has to be one for each", where)
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels are {labels.dtype}; they have to be class numbers", where)
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < MOST_CLASSES:
        bounds = f"labels go from {labels.min()} to {labels.max()}"
        raise InputError(f"{bounds}; they have to be class numbers from 0 to {MOST_CLASSES - 1}", where)
    return labels.astype(np.int64)


def _pair(one: Any) -> bool:
    return (
        isinstance(one, list)
        and len(one) == 2
        and isinstance(one[0], str)
        and isinstance(one[1], int)
        and not isinstance(one[1], bool)
        and abs(one[1]) < 2**62
    )
