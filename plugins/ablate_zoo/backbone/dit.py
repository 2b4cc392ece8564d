"""backbone `dit`: diffusion transformer, a vision transformer over patches without long skip connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import InputSpec
from ablate_zoo.backbone._transformer import Transformer

if TYPE_CHECKING:
    from torch import nn


class DiT(Transformer):
    """Diffusion transformer (Peebles & Xie 2023). DiT-XL/2: patch 2, depth 28, width 1152, heads 16."""

    name = "dit"

    def build(self, setting: InputSpec) -> nn.Module:
        """`DiT` of `ablate_zoo.backbone._transformer_modules`, initialised as in the paper."""
        from ablate_zoo.backbone import _transformer_modules as modules

        blocks, head = self._blocks(setting), self._head(setting)
        modules.init_dit(blocks, head, self.zero_init)
        self._by_depth(blocks)
        condition, tokens = self._condition(setting), self._tokens(setting)
        self._at_width(condition, tokens, blocks, head, constant=False)
        return modules.DiT(condition, tokens, blocks, head, self.routing.build(self._site(2, setting)))
