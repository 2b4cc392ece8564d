"""auxiliary: a weighted term that is added to the objective."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ablate.errors import InputError, did_you_mean
from ablate.kinds.objective import Host, Pictures
from ablate.spec.component import Component, Course, Range, When

if TYPE_CHECKING:
    from torch import nn


class Auxiliary(Component):
    """Adds a term to the loss, `weight` times, until a share of the training is done.

    Its module is built, trained and kept as that of an objective. It sees the shared pass of the step, through
    `model.prediction` and `model.activation(site)`: no second pass is computed for it. A study lists auxiliaries under
    `auxiliary`; the curve shows each by its name, not yet weighted.
    """

    kind: ClassVar[str] = "auxiliary"

    weight: Annotated[float, Field(ge=0, le=1e6), Range(0.01, 1.0, log=True)] = 0.5
    until: Annotated[float, Field(ge=0, le=1)] = 1.0  # share of the training after which the term is dropped

    @abstractmethod
    def build(self, host: Host) -> nn.Module:
        """Build a module `forward(noised, labels, model)` -> (B,) fp32, the term of each image.

        A term of the whole batch gives each image the same number. It must run on the meta device.
        """

    def couples(self) -> bool:
        """Return whether the term of an image depends on the others of its batch: then it is never cut into parts."""
        return False

    def sites(self, host: Host) -> Sequence[str]:
        """Return the blocks whose activations it reads. Raises InputError where the network has none such."""
        return ()

    def same_until(self, images: int) -> float:
        """Until it is dropped, which a longer training does later."""
        return math.inf if self.until == 1 or self.until == 0 or self.weight == 0 else self.until * images

    def prepare(self, term: Any, pictures: Pictures) -> None:
        """Give the built module what it needs of the training images; called once in a process, before a step."""

    def idle(self, course: Course) -> Iterable[str]:
        """Warn of a term without weight."""
        if self.weight == 0 or self.until == 0:
            name = "weight" if self.weight == 0 else "until"
            yield f"{name}: 0 adds nothing to the loss"


class SiteAuxiliary(Auxiliary):
    """An auxiliary term of the activations at one block, by its name, or by its depth in the network."""

    site: Annotated[str | None, Field(min_length=1)] = None  # a block, as `ablate plan --network` names it
    depth: Annotated[float, Field(gt=0, le=1), When("site", (None,)), Range(0.125, 1.0)] = (
        0.25  # share of the blocks: 0.25 of 12 is the third
    )

    def where(self, host: Host) -> str:
        """Return the block. Raises InputError where the network has no such block, with those that it has."""
        names = list(host.sites)
        if not names:
            raise InputError("reads the activations of a block, and this network has no blocks that repeat")
        if self.site is None:
            return names[math.ceil(self.depth * len(names)) - 1]
        if self.site not in names:
            shown = ", ".join(names if len(names) <= 12 else [*names[:6], "…", *names[-5:]])
            raise InputError(f"the network has no block {self.site!r}{did_you_mean(self.site, names)}; it has: {shown}")
        return self.site

    def sites(self, host: Host) -> Sequence[str]:
        """The one block."""
        return (self.where(host),)
