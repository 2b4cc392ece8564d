"""What mixers of queries, keys and values share: value residuals, and the norm of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ablate.api import Added, Choice, Mixer, MixerSite, Range, When

if TYPE_CHECKING:
    from torch import nn


class Attention(Mixer):
    """Self-attention whose values may be mixed with those of the network's first block, token by token.

    v ← (1 − λ)·v + λ·v₁ in every block but the first (Zhou et al. 2024, "Value Residual Learning"): `fixed` is their
    ResFormer with λ = ½, `learned` has a λ of its own in each block, as Jordan et al. 2024 (modded-nanoGPT) train it.
    """

    value_residual: Annotated[
        Literal["none", "fixed", "learned"], Added(before="none"), Choice("none", "fixed", "learned")
    ] = "none"  # the first block's values in those of later ones
    value_weight: Annotated[
        float, Field(gt=0, lt=1), When("value_residual", ("fixed", "learned")), Range(0.25, 0.75)
    ] = 0.5  # λ, their share; at the start, where it is learned

    value_norm: Annotated[bool, Added(before=False)] = False  # values over their root mean square, head by head
    shared_key_value: Annotated[bool, Added(before=False)] = False
    """one projection makes keys and values, W_k = W_v (Zhao et al. 2023, MobileDiffusion, section 3.2)"""

    def provides(self) -> frozenset[str]:
        """Matrices of queries, keys, values and output, of which its module tells."""
        return frozenset({"projections"})

    def requires(self) -> Mapping[str, str]:
        """A network of one stack of tokens, where the first block's values are mixed in."""
        if self.value_residual == "none":
            return {}
        return {"carry": "values go from the first block to later ones; take a transformer, or value_residual: none"}

    def values(self, site: MixerSite) -> nn.Module | None:
        """Build what the values of a block pass through, (v, layout) -> v; None: they stay as they are."""
        from ablate_zoo.layers.magnitudes import UnitValues

        mixed = self._mixed(site)
        return UnitValues(mixed) if self.value_norm else mixed

    def _mixed(self, site: MixerSite) -> nn.Module | None:
        from ablate_zoo.layers.value_residual import LeaveValues, ValueResidual

        if self.value_residual == "none":
            return None
        if site.block is None:
            raise ValueError("value residuals need to know which block is the first: a network says so in its site")
        return ValueResidual(self.value_weight, self.value_residual == "learned") if site.block else LeaveValues()
