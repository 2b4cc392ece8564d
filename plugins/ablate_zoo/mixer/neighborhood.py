"""mixer `neighborhood`: self-attention of each patch to those around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Choice, MixerSite
from ablate_zoo.mixer._attention import Attention

if TYPE_CHECKING:
    from torch import nn


class Neighborhood(Attention):
    """Neighbourhood attention: a patch sees the `window`×`window` patches around it (Hassani et al. 2023, NAT, eq. 2).

    At the edge of the grid the window does not lie around the patch, but ends there: each patch sees equally many.
    Tokens without a place (registers, those of the condition) see all and are seen by all. In training each patch's
    keys and values are kept, window² times as many numbers as without.
    """

    name = "neighborhood"

    window: Annotated[int, Field(ge=1, le=255), Choice(3, 5, 7)] = 7  # patches along a window's side, odd

    @model_validator(mode="after")
    def _has_a_middle(self) -> Self:
        if self.window % 2 == 0:
            raise ValueError(f"a window of {self.window} has no middle; the nearest: {self.window + 1}")
        return self

    def excludes(self) -> Mapping[str, str]:
        """Patches that are not all there have no neighbours."""
        return {"routed_tokens": "its windows lie on the whole grid of patches; say routing: none, or another mixer"}

    def build(self, site: MixerSite) -> nn.Module:
        """`SelfAttention` with the product of `ablate_zoo.mixer._windows`."""
        from ablate_zoo.layers.attention import self_attention
        from ablate_zoo.mixer._windows import NeighborhoodProduct

        assert site.resolution is not None, "a network says the grid of a mixer's tokens"
        product = NeighborhoodProduct(site.resolution, self.window)
        return self_attention(site, product, self.values(site), self.shared_key_value)
