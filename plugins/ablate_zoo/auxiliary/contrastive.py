"""auxiliary `contrastive`: contrastive flow matching, a prediction is pushed from another image's target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Auxiliary, Host, Range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


class Contrastive(Auxiliary):
    """Contrastive flow matching: minus the squared error to the target of another image and noise of the batch.

    Stoica et al. 2025, "Contrastive Flow Matching", ΔFM, with λ the weight: L = |ŷ − y|² − λ·|ŷ − ỹ|². ỹ is the
    target that another image and its noise would have at this image's level; for `flow` it is ε̃ − x̃0, as in the
    paper, other targets take their own. The other one is the next of the batch, whose order is random. Both errors
    have the weighting's factor, so that λ means the same at every level. What the network is led to is no longer the
    mean of the targets, but (E[y] − λ·E[ỹ])/(1 − λ): larger by 1/(1 − λ), and shifted. At λ >= 1 there is no minimum.
    """

    name = "contrastive"

    weight: Annotated[float, Field(ge=0, lt=1), Range(0.01, 0.1, log=True)] = 0.05  # λ

    def requires(self) -> Mapping[str, str]:
        """An objective that predicts the target of the batch."""
        return {"prediction": "it compares the prediction of the target with other targets; use objective 'denoise'"}

    def couples(self) -> bool:
        """Every image with the next one."""
        return True

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained."""
        from ablate_zoo.auxiliary._modules import ContrastiveLoss

        return ContrastiveLoss()
