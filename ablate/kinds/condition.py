"""condition: what data tell a network of an image, beside its class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from ablate.spec.component import Component
from ablate.spec.inputs import ConditionSpec, InputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from ablate.kinds.conditions import Told

Uniform = Callable[[str], "Tensor"]  # name of a stream -> (B,) numbers uniform in [0, 1), by the images' numbers
CLASS_COLUMN = "class"  # the column of the classes' names, which labelled data have of themselves


def within(name: str, uniform: Uniform) -> Uniform:
    """Return the draws of one condition: streams that no other has."""
    return lambda stream: uniform(f"condition/{name}/{stream}")


class Stored(NamedTuple):
    """A condition of a data set: what was computed of each of its images once, if anything was."""

    condition: Condition
    spec: ConditionSpec
    training: NDArray[Any] | None = None  # (N, ...), a row for each training image
    reference: NDArray[Any] | None = None  # (M, ...), for each image of the reference


class Condition(Component):
    """Tells a network something of an image: of the columns that a data set has of it, or of the image itself."""

    kind: ClassVar[str] = "condition"

    called: Annotated[str | None, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)] = (
        None  # its name in the record of conditions; none: that of the component
    )

    @property
    def record_name(self) -> str:
        """Its name in the record."""
        return self.called or self.name

    @abstractmethod
    def spec_of(self, setting: InputSpec, columns: Mapping[str, type]) -> ConditionSpec:
        """Return what the network is told, without reading the images.

        columns: {name: str, or float} of what the data have of each image. Raises InputError where what it needs is
        not among them, or does not suit images of that shape.
        """

    def store(self, columns: Mapping[str, NDArray[np.generic]]) -> NDArray[Any] | None:
        """Compute of the columns what is kept of each image, (N, ...), once; None: nothing is."""
        return None

    def remarks(self, columns: Mapping[str, NDArray[np.generic]]) -> Sequence[str]:
        """Return what a user should know of what becomes of these columns, a sentence each, such as texts cut short."""
        return ()

    @abstractmethod
    def tell(self, stored: Tensor | None, x0: Tensor, uniform: Uniform) -> Told:
        """Return what is told of a batch.

        stored: rows of `store`, (B, ...). x0: (B, C, H, W) in [-1, 1], the images after augmentation; do not change
        it. uniform: draws for these images from a stream of that name; other draws would not be paired over candidates.
        """
