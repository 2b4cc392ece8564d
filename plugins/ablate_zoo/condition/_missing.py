"""What data do not know of some images: found, and told by the files' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ablate.api import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a column has no value, (N,): None among text, NaN among numbers."""
    import numpy as np

    if values.dtype == object:
        return np.array([value is None for value in values], dtype=bool)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def refuse(lacking: NDArray[np.bool_], column: str, columns: Mapping[str, NDArray[Any]], remedy: str) -> None:
    """Raise InputError where a column has no value for some images, with the first of them."""
    count = int(lacking.sum())
    if count == 0:
        return
    first = int(lacking.argmax())
    name = str(columns["file"][first]) if "file" in columns else f"image {first}"
    have = "has" if count == 1 else "have"
    raise InputError(f"{count} of {len(lacking)} images {have} no {column!r}, such as {name}; {remedy}")
