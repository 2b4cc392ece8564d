"""Labels of pictures: from EDM's dataset.json, from the names of sub-folders, or from an array."""

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
    """(N,) labels of `names` from `{"labels": [[path, class], ...]}`; None where that is null.

    Raises InputError where a picture has no label, a label no picture, or one is no class number.
    """
    try:
        held = json.loads(text)
        given = held["labels"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        told = 'expected {"labels": [["path", class], ...]} or {"labels": null}'
        raise InputError(f"{told}, and found something else ({type(error).__name__})", where) from None
    if given is None:
        return None
    if not isinstance(given, list) or not all(map(_pair, given)):
        wrong = "a list" if not isinstance(given, list) else next(str(one)[:60] for one in given if not _pair(one))
        raise InputError(f"labels are pairs of a path and a class number, not {wrong}", where)
    found = {str(PurePosixPath(path.replace("\\", "/"))): label for path, label in given}
    if len(found) < len(given):
        raise InputError(f"{len(given) - len(found)} pictures have two labels", where)
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{len(missing)} of {len(names)} pictures have no label, such as {missing[0]}", where)
    if len(found) > len(names):
        stray = min(found.keys() - set(names))
        raise InputError(f"{len(found) - len(names)} labels are of no picture, such as {stray}", where)
    return checked(np.array([found[name] for name in names], dtype=np.int64), len(names), where)


def from_folders(names: Sequence[str], where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N,) labels and the classes' names: the first folder in which the paths differ, in alphabetical order.

    Raises InputError where pictures lie outside of any, in one alone, or in the parts of a data set.
    """
    parts = [PurePosixPath(name).parts[:-1] for name in names]
    common = 0
    while all(len(p) > common for p in parts) and len({p[common] for p in parts}) == 1:
        common += 1
    bare = next((name for name, p in zip(names, parts, strict=True) if len(p) <= common), None)
    if common and all(len(p) == common for p in parts):
        one = "/".join(parts[0][:common])
        told = f"all pictures lie in one folder, {one!r}, so there is one class alone"
        raise InputError(f"{told}; give the folder above the classes, or say labels: none", where)
    if bare is not None:
        raise InputError(f"classes by sub-folder need every picture in one, and {bare} lies in none", where)
    classes = sorted({p[common] for p in parts})
    if {name.lower() for name in classes} <= PARTS:
        told = f"the sub-folders {' and '.join(classes)} are parts of a data set, not classes"
        raise InputError(f"{told}: give one of them as the path", where)
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[p[common]] for p in parts], dtype=np.int64), tuple(classes)


def looks_like(names: Sequence[str]) -> str | None:
    """What sub-folders might mean that are not taken for classes, for people; None where there are none."""
    parts = [PurePosixPath(name).parts[:-1] for name in names]
    first = sorted({p[0] for p in parts if p})
    if len(first) < 2 or any(not p for p in parts):
        return None
    shown = ", ".join(first[:4]) + (", …" if len(first) > 4 else "")
    if {name.lower() for name in first} <= PARTS:
        return f"the parts {shown} are taken together; give one of them as the path to take it alone"
    return f"the sub-folders {shown} are not taken for classes; labels: folders does that"


def checked(labels: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
    """Labels as int64 (N,). Raises InputError for another number of them, vectors, fractions, negatives."""
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
