"""conditioning `in_context`: timestep and class join the sequence as two more tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.api import Conditioning, Site

if TYPE_CHECKING:
    from torch import nn


class InContext(Conditioning):
    """In-context conditioning: its tokens join the sequence and leave after the last block (DiT, section 3.2)."""

    name = "in_context"

    def provides(self) -> frozenset[str]:
        """The network looks at every token of its condition."""
        return frozenset({"condition_tokens"})

    def requires(self) -> Mapping[str, str]:
        """A sequence to join."""
        return {"tokens": "its tokens join a transformer's sequence"}

    def sequence(self, site: Site) -> nn.Module:
        """The tokens as they are."""
        from ablate_zoo.layers.embedding import ContextTokens

        return ContextTokens(site.embedding, site.width)
