"""embedder `linear`: numbers, or a class as a one-hot vector, through one linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import ConditionSpec, Embedder, EmbedderSite

if TYPE_CHECKING:
    from torch import nn


class Linear(Embedder):
    """A linear layer without bias, whose output is added to the timestep's embedding; dropped, it adds nothing.

    So EDM embeds its augmentation's parameters, and the class: a one-hot vector times the root of how many there are
    (Karras et al. 2022, appendix F). On a class it takes the place of the network's own table of vectors.
    """

    name = "linear"
    forms = ("scalars", "class")

    def build(self, spec: ConditionSpec, site: EmbedderSite) -> nn.Module:
        """One layer, initialised to keep the variance."""
        from ablate_zoo.layers.conditions import LinearEmbedding

        return LinearEmbedding(spec.count or spec.shape[0], site.embedding, one_hot=spec.form == "class")
