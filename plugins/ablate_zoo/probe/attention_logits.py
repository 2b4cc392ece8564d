"""probe `attention_logits`: whether attention is about to collapse onto single tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from ablate.api import PassObserver, Probe
from ablate_zoo.probe._largest import largest


class AttentionLogits(Probe):
    """The largest |logit| of each attention (Dehghani et al. 2023, "Scaling Vision Transformers to 22 Billion
    Parameters", section 2: its growth precedes divergence), on images of the held batch.

    It sees every attention that lets queries and keys through a submodule called `query_key`, just before
    their product: forward(q, k) -> (q, k), of shape (B, heads, N, d) and (B, heads, M, d), after any
    normalisation of them. Its attribute `scale` is the factor of the product, None for 1/√d; see `QueryKey` in
    `ablate_zoo.layers.attention`. Keys that a mask hides count too. x is the place of the attention among
    all, from 0. Its summary is the largest logit of any observation; it has none where nothing attends.
    """

    name = "attention_logits"

    images: Annotated[int, Field(ge=1, le=128)] = 16  # so many images of the held batch; 16 hold all its noise levels

    def build(self) -> PassObserver:
        """See `ablate_zoo.probe._pass`."""
        from ablate_zoo.probe import _pass

        return _pass.AttentionLogits(self.images)

    def summary(self, rows: Sequence[Mapping[str, Any]]) -> float | None:
        """The largest of all."""
        return largest(rows)
