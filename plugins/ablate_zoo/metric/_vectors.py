"""What every metric of two sets of vectors needs: checked float64 arrays, and a key for what stays the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ablate.api import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Fixed:
    """Vectors (N, D) that compare by content, so that what is computed of them can be cached."""

    digest: bytes
    values: NDArray[np.float64] = field(compare=False)


def checked(metric: str, generated: ArrayLike, reference: ArrayLike, least: int) -> tuple[NDArray[np.float64], Fixed]:
    """Both sets as float64. Raises InputError for vectors of which no metric can be computed.

    Generated vectors that are all the same pass: a collapsed model is a result, and a bad one.
    """
    x = _vectors(metric, "generated", generated, least)
    y = _vectors(metric, "reference", reference, least)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"{metric}: generated features have {x.shape[1]} dimensions, the reference's {y.shape[1]}")
    if (y == y[0]).all():
        raise InputError(f"{metric}: all {len(y)} reference images have the same features; check the reference images")
    return x, Fixed(hashlib.sha256(repr(y.shape).encode() + y.tobytes()).digest(), y)


def _vectors(metric: str, which: str, values: ArrayLike, least: int) -> NDArray[np.float64]:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{metric}: {which} features must be a table (N, D), not of shape {array.shape}")
    if len(array) < least:
        raise InputError(f"{metric} needs at least {least} {which} samples, not {len(array)}")
    broken = len(array) - int(np.isfinite(array).all(axis=1).sum())
    if broken:
        raise InputError(f"{metric}: {broken} of {len(array)} {which} samples have features that are NaN or infinite")
    return array
