"""guidance `skip_layer`: skip-layer guidance, away from the same network without some of its blocks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from ablate.api import network_blocks
from ablate_zoo.guidance._weaker import Extrapolated

if TYPE_CHECKING:
    from torch import nn

Share = Annotated[float, Field(ge=0, lt=1)]


class SkipLayer(Extrapolated):
    """D = D_skip + scale·(D − D_skip), D_skip of the network in which some blocks pass on what they read.

    Hyung et al. 2024, "Spatiotemporal Skip Guidance for Enhanced Video Diffusion Sampling"; skip-layer guidance of
    Stable Diffusion 3.5, whose scale is ours less 1. `depth` says where the blocks lie, as shares of the depth: of 12
    blocks 0.5 is the seventh. Nothing is trained for it, and it needs no labels. A skipped block is not computed.
    """

    name = "skip_layer"

    depth: Annotated[tuple[Share, ...], Field(min_length=1, max_length=64)] = (0.5,)  # places of the skipped blocks

    @field_validator("depth")
    @classmethod
    def _ascends(cls, depth: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(depth)):
            raise ValueError(f"depth has to ascend, each share once; not {list(depth)}")
        return depth

    def requires(self) -> Mapping[str, str]:
        """A network of tokens, whose blocks give what they read in shape."""
        return {"tokens": "a block can be passed by where it gives what it reads: take a transformer such as 'dit'"}

    def weaken(self, network: nn.Module) -> nn.Module:
        """The network with other modules in the blocks' places. Raises ValueError where it repeats no blocks."""
        from ablate_zoo.guidance._passing import Passing

        blocks = list(network_blocks(network).values())
        if not blocks:
            raise ValueError("guidance 'skip_layer' has nothing to skip: the network repeats no blocks")
        skipped = {id(blocks[int(share * len(blocks))]) for share in self.depth}
        names = [name for name, module in network.named_modules() if id(module) in skipped]
        for name in names:
            network.set_submodule(name, Passing())
        return network

    def settings(self) -> list[str]:
        """The places."""
        return [f"depth={'+'.join(f'{share:g}' for share in self.depth)}"]
