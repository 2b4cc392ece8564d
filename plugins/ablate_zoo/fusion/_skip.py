"""Fields that the fusions of a skip connection share: skip dropout, and the norm of the skip."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ablate.api import Choice, Fusion

Share = Annotated[float, Field(ge=0, lt=1), Choice(0.0, 0.1, 0.2)]
Norm = Annotated[Literal["group", "adaptive_group", "none"], Choice("group", "adaptive_group", "none")]


class SkipFusion(Fusion):
    """A fusion that may be trained without the skip."""

    skip_dropout: Share = 0.0  # images that lose the skip, in training alone; what is kept is not scaled up


class NormedFusion(SkipFusion):
    """A fusion that normalises the skip: ŝ = Norm(s)."""

    norm: Norm = "group"  # group: unit variance, no affine map; adaptive_group: then scale and shift from the embedding
