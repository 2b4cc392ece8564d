"""What every metric of two sets of vectors needs: checked tables, and a key for what stays the same."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.api import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BLOCK = 4096  # rows that are copied at a time; a table may lie on disk


@dataclass(frozen=True)
class Fixed:
    """A table (N, D) that compares by content, so that what is computed of it can be cached."""

    digest: bytes
    table: NDArray[np.floating[Any]] = field(compare=False)

    @property
    def values(self) -> NDArray[np.float64]:
        """The whole table in float64."""
        return np.ascontiguousarray(self.table, dtype=np.float64)


def checked(metric: str, generated: ArrayLike, reference: ArrayLike, least: int) -> tuple[NDArray[np.float64], Fixed]:
    """Check both sets. Raises InputError for vectors of which no metric can be computed.

    Generated vectors that are all the same pass: a collapsed model is a result, and a bad one.
    """
    x = _table(metric, "generated", generated, least)
    y = fixed(metric, reference, least)
    check_dimensions(metric, x.shape[1], y)
    return np.ascontiguousarray(x, dtype=np.float64), y


_fixed: dict[int, tuple[weakref.ref[NDArray[np.floating[Any]]], Fixed]] = {}


def fixed(metric: str, reference: ArrayLike, least: int) -> Fixed:
    """Check the reference. Raises InputError where it is too small, not finite, or all the same.

    An array that nobody can write to, as a file that is mapped read-only, is looked at once.
    """
    y = np.asanyarray(reference)
    entry = _fixed.get(id(y))
    if entry is not None and entry[0]() is y and len(y) >= least:
        return entry[1]
    table = _table(metric, "reference", y, least)
    if all((block == table[0]).all() for block in blocks(table)):
        raise InputError(f"{metric}: all {len(y)} reference images have the same features; check the reference images")
    content = hashlib.sha256(f"{table.shape}{table.dtype}".encode())
    content.update(np.ascontiguousarray(table).data)
    result = Fixed(content.digest(), table)
    if isinstance(y, np.memmap) and not y.flags.writeable:
        # Names of its own: at the end of the process the module's may be gone before the array.
        key, cache = id(y), _fixed
        cache[key] = weakref.ref(y, lambda _: cache.pop(key, None)), result
    return result


def check_dimensions(metric: str, dimensions: int, reference: Fixed) -> None:
    """Raise InputError where the generated vectors are of other features than the reference's."""
    theirs = reference.table.shape[1]
    if dimensions != theirs:
        raise InputError(f"{metric}: generated features have {dimensions} dimensions, the reference's {theirs}")


def check_count(metric: str, which: str, count: int, broken: int, least: int) -> None:
    """Raise InputError for too few vectors, and for some that are not finite."""
    if count < least:
        raise InputError(f"{metric} needs at least {least} {which} samples, not {count}")
    if broken:
        raise InputError(f"{metric}: {broken} of {count} {which} samples have features that are NaN or infinite")


def blocks(table: NDArray[np.floating[Any]]) -> Iterator[NDArray[np.floating[Any]]]:
    """Yield the rows, some at a time."""
    for first in range(0, len(table), BLOCK):
        yield table[first : first + BLOCK]


def shuffled(table: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order the rows so that it looks random, and that their content alone decides, not the order they came in."""
    keys = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in table]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.intp)


def _table(metric: str, which: str, values: ArrayLike, least: int) -> NDArray[np.floating[Any]]:
    array = np.asanyarray(values)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{metric}: {which} features must be a table (N, D), not of shape {array.shape}")
    broken = len(array) - sum(int(np.isfinite(block).all(axis=1).sum()) for block in blocks(array))
    check_count(metric, which, len(array), broken, least)
    return array
