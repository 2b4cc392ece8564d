"""condition `scalars`: numbers that the data have of each image, such as its original size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ablate.api import Condition, ConditionSpec, InputError, InputSpec, Told, Uniform
from ablate_zoo.condition._missing import missing, refuse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Scalars(Condition):
    """Columns of numbers, as they are times `scale` (SDXL's size and crop conditioning: Podell et al. 2024, 2.2)."""

    name = "scalars"

    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]  # of the data, in this order
    scale: Annotated[float, Field(gt=0, le=1e6)] = 1.0

    def spec_of(self, setting: InputSpec, columns: Mapping[str, type]) -> ConditionSpec:
        """As many numbers as columns. Raises InputError for one that the data do not have, or that is text."""
        for name in self.columns:
            if columns.get(name) is not float:
                numbers = ", ".join(sorted(n for n, kind in columns.items() if kind is float)) or "none"
                raise InputError(f"condition {self.name!r}: the data have no numbers {name!r} (there are: {numbers})")
        return ConditionSpec(self.record_name, "scalars", (len(self.columns),))

    def store(self, columns: Mapping[str, NDArray[np.generic]]) -> NDArray[Any]:
        """(N, K) fp32. Raises InputError where a number is missing."""
        import numpy as np

        for name in self.columns:
            refuse(missing(columns[name]), name, columns, "give each one, or leave it out of the condition's columns")
        return np.stack([columns[name] for name in self.columns], axis=1).astype(np.float32) * np.float32(self.scale)

    def tell(self, stored: Tensor | None, x0: Tensor, uniform: Uniform) -> Told:
        """As stored."""
        assert stored is not None
        return Told(stored)
