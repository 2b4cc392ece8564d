"""embedder `fourier`: numbers by sinusoidal frequencies and an MLP, as the timestep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, ConditionSpec, Embedder, EmbedderSite

if TYPE_CHECKING:
    from torch import nn


class Fourier(Embedder):
    """Each number by `size` sinusoidal frequencies, together through a two-layer MLP with SiLU, added to the timestep.

    So SDXL is told sizes and crops (Podell et al. 2024, section 2.2: size 256, each number by itself, in pixels).
    Dropped, it adds a learned vector.
    """

    name = "fourier"
    forms = ("scalars",)

    size: Annotated[int, Field(ge=2, le=4096, multiple_of=2), Choice(64, 256)] = 256  # frequencies of a number

    def build(self, spec: ConditionSpec, site: EmbedderSite) -> nn.Module:
        """Frequencies and MLP."""
        from ablate_zoo.embedder._modules import FourierEmbedding

        return FourierEmbedding(spec.shape[0], self.size, site.embedding)
