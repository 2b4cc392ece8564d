"""mixer `windowed`: self-attention within windows of the grid of patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, MixerSite
from ablate_zoo.mixer._attention import Attention

if TYPE_CHECKING:
    from torch import nn


class Windowed(Attention):
    """Window attention: a patch sees those of its own window (Liu et al. 2021, Swin, section 3.2).

    Tokens without a place (registers, those of the condition) see all and are seen by all. Where windows meet the
    grid's edge they are smaller; nothing is joined around it.
    """

    name = "windowed"

    window: Annotated[int, Field(ge=1, le=4096), Choice(2, 4, 8)] = 4  # patches along a window's side
    shifted: bool = True  # in every second block the windows lie half a window further

    def excludes(self) -> Mapping[str, str]:
        """Patches that are not all there have no windows."""
        return {"routed_tokens": "windows are cut from the whole grid of patches; say routing: none, or another mixer"}

    def build(self, site: MixerSite) -> nn.Module:
        """`SelfAttention` with the product of `ablate_zoo.mixer._windows`."""
        from ablate_zoo.layers.attention import self_attention
        from ablate_zoo.mixer._windows import WindowProduct

        assert site.resolution is not None, "a network says the grid of a mixer's tokens"
        shift = self.window // 2 if self.shifted and (site.block or 0) % 2 else 0
        product = WindowProduct(site.resolution, self.window, shift)
        return self_attention(site, product, self.values(site), self.shared_key_value)
