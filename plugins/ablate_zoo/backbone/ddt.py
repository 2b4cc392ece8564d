"""backbone `ddt`: decoupled diffusion transformer, an encoder that says what is there, a decoder that draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Choice, InputSpec
from ablate_zoo.backbone._transformer import Transformer

if TYPE_CHECKING:
    from torch import nn


class DDT(Transformer):
    """Decoupled diffusion transformer (Wang et al. 2025, "DDT: Decoupled Diffusion Transformer").

    `depth` blocks of the encoder read the patches under timestep and class, as DiT's do, and give a condition z for
    each patch. `decoder_depth` blocks read the patches anew, each token modulated by the timestep and its own z. A
    conditioning that modulates nothing leaves z to be added to the decoder's tokens. DDT-XL/2: patch 2, depth 22,
    decoder_depth 6, width 1152, heads 16.
    """

    name = "ddt"

    decoder_depth: Annotated[int, Field(ge=1, le=1000), Choice(1, 2, 4)] = 2  # blocks of the decoder

    @model_validator(mode="after")
    def _standard_parametrization(self) -> Self:
        if self.base_width is not None:
            raise ValueError("ddt begins as in the standard parametrization; leave base_width out, or take dit")
        return self

    @property
    def block_count(self) -> int:
        """How many blocks it has, encoder and decoder; `without` counts through both."""
        return self.depth + self.decoder_depth

    def provides(self) -> frozenset[str]:
        """As any transformer, but for what mixers would carry from the encoder's blocks to the decoder's."""
        return super().provides() - {"carry"}

    def excludes(self) -> Mapping[str, str]:
        """Patches that are not all there."""
        return {
            **super().excludes(),
            "routed_tokens": "its decoder reads a condition for every patch; say routing: none",
        }

    def build(self, setting: InputSpec) -> nn.Module:
        """`DDT` of `ablate_zoo.backbone._ddt_modules`, initialised as a DiT."""
        from ablate_zoo.backbone import _ddt_modules as modules
        from ablate_zoo.backbone._transformer_modules import init_dit

        whole = self.model_copy(update={"depth": self.block_count})  # blocks count through both
        blocks, head = whole._blocks(setting), whole._head(setting)
        init_dit(blocks, head, self.zero_init)
        self._by_depth(blocks)
        condition, tokens, drawn = self._condition(setting), self._tokens(setting), self._tokens(setting)
        drawn.sequence, drawn.registers = None, None  # tokens without a place are the encoder's
        return modules.DDT(condition, tokens, blocks[: self.depth], drawn, blocks[self.depth :], head)
