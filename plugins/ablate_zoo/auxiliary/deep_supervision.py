"""auxiliary `deep_supervision`: a block within the network predicts the target too, at its own resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Host, InputError, Range, SiteAuxiliary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


class DeepSupervision(SiteAuxiliary):
    """Deep supervision: the squared error of a prediction that a head makes of a block's activations.

    Lee et al. 2015, "Deeply-Supervised Nets"; for images at several resolutions as Liu et al. 2024 (DiMR, section 3.1)
    train all branches but the finest, with a quarter of the weight. The head is a norm and a 3×3 convolution over the
    block's grid, trained with the network and left out when sampling. Noisy image and target are averaged over the
    pixels of each place, times the root of their number, so that noise keeps its variance. Preconditioning and the
    weighting's factor are those of the whole prediction.
    """

    name = "deep_supervision"

    weight: Annotated[float, Field(ge=0, le=1e6), Range(0.05, 1.0, log=True)] = 0.25

    def requires(self) -> Mapping[str, str]:
        """An objective that predicts the target of the batch in a shared pass."""
        return {"activations": "a block predicts the target in a step's one pass; use objective 'denoise'"}

    def sites(self, host: Host) -> Sequence[str]:
        """The block, whose tokens or maps have to lie on a grid that divides the image."""
        self._grid(host)
        return (self.where(host),)

    def build(self, host: Host) -> nn.Module:
        """The head, which is trained."""
        from ablate_zoo.auxiliary._deep_supervision import DeepSupervisionLoss

        site = self.where(host)
        return DeepSupervisionLoss(site, host.sites[site], self._grid(host), host.setting.shape)

    def _grid(self, host: Host) -> tuple[int, int]:
        from ablate_zoo.auxiliary._alignment import grid_of

        site = self.where(host)
        grid, (_, height, width) = grid_of(host.sites[site], host.setting), host.setting.shape
        if grid is None or height % grid[0] or width % grid[1]:
            shape = "×".join(map(str, host.sites[site]))
            raise InputError(f"what block {site!r} gives, {shape}, is no grid of tokens or pixels over the image")
        return grid
