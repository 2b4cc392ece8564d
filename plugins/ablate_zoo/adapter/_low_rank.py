"""What the adapters of low rank share: rank, scale, and what they ask of a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ablate.api import Adapter, Choice

if TYPE_CHECKING:
    from torch import nn


class LowRank(Adapter):
    """A product of two small matrices beside the weights of each linear layer; what they are added to is frozen."""

    freezes: ClassVar[bool] = True
    with_magnitude: ClassVar[bool] = False

    rank: Annotated[int, Field(ge=1, le=65_536), Choice(4, 8, 16)] = 8  # of the product, at most a layer's smaller side
    alpha: Annotated[float, Field(gt=0, le=1e4)] = 8.0  # the product counts alpha/rank times

    def provides(self) -> frozenset[str]:
        """Weights that are frozen, with something beside them."""
        return frozenset({"adapted_weights"})

    def requires(self) -> Mapping[str, str]:
        """Weights that were trained before."""
        return {
            "trained_start": f"{self.name} trains a little beside frozen weights, which have to be trained ones: say "
            "start: {trial: …}, {file: …} or baseline"
        }

    def apply(self, network: nn.Module) -> None:
        """`adapt` of `ablate_zoo.adapter._modules`."""
        from ablate_zoo.adapter._modules import adapt

        adapt(network, self.rank, self.alpha, self.with_magnitude)
