"""conditionings `adaln` and `adaln_zero`: adaptive layer norm (FiLM), shift and scale from timestep and class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ablate.api import Conditioning, Site

if TYPE_CHECKING:
    from torch import nn


class AdaLN(Conditioning):
    """Adaptive layer norm: shift and scale of every norm from timestep and class (Peebles & Xie 2023, section 3.2)."""

    name = "adaln"
    regresses: ClassVar[tuple[str, ...]] = ("shift", "scale")

    def requires(self) -> Mapping[str, str]:
        """Blocks of tokens."""
        return {"tokens": "it modulates the norms of a transformer's blocks"}

    def modulation(self, site: Site) -> nn.Module:
        """One linear layer a block."""
        return self._regress(site, self.regresses)

    def head(self, site: Site) -> nn.Module:
        """The final layer is modulated too, without a gate."""
        return self._regress(replace(site, branches=1), ("shift", "scale"))

    def _regress(self, site: Site, parts: tuple[str, ...]) -> nn.Module:
        from ablate_zoo.layers.norms import AdaptiveModulation

        return AdaptiveModulation(site.embedding, site.width, site.branches, parts, begin_at_zero=site.zero_init)


class AdaLNZero(AdaLN):
    """adaLN-Zero: adaLN with a gate on each branch, all zero at the start, so that every block is the identity."""

    name = "adaln_zero"
    regresses: ClassVar[tuple[str, ...]] = ("shift", "scale", "gate")

    def provides(self) -> frozenset[str]:
        """Blocks that add nothing before training."""
        return frozenset({"identity_at_start"})
