"""auxiliary `dispersive`: the dispersive loss, which spreads the activations of a batch (Wang & He 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ablate.api import Host, Range, SiteAuxiliary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


class Dispersive(SiteAuxiliary):
    """Dispersive loss: log of the mean over all pairs of exp(−D(z_i, z_j)/τ), of the activations z at a block.

    Wang & He 2025, "Diffuse and Disperse: Image Generation with Representation Regularization", the InfoNCE form: a
    contrastive loss without positive pairs. A pair of an image with itself counts too, as in the authors' code. `l2` is
    the squared distance, divided by the numbers of an activation, so that τ means the same at every width; then the
    term lies between −log B and 0. `cosine` is minus the cosine.
    """

    name = "dispersive"

    distance: Literal["l2", "cosine"] = "l2"
    temperature: Annotated[float, Field(gt=0, le=100), Range(0.1, 2.0, log=True)] = 0.5  # τ

    def requires(self) -> Mapping[str, str]:
        """An objective with a shared pass."""
        return {"activations": "it spreads the activations of a step's one pass; use objective 'denoise'"}

    def couples(self) -> bool:
        """Every image with every other."""
        return True

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained."""
        from ablate_zoo.auxiliary._modules import DispersiveLoss

        return DispersiveLoss(self.where(host), self.distance, self.temperature)
