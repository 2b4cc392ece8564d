"""conditioning `adaln_lora`: adaLN-Zero whose modulation is regressed through a narrow layer."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import nn

from ablate.api import Choice, Conditioning, Context, Modulation, Site

api_version = 1  # of ablate's plugin API, for which this was written


class LowRankModulation(nn.Module):
    """Shift, scale and gate of each branch by E -> rank -> 3·width·branches; zero at the start."""

    def __init__(self, embedding: int, width: int, branches: int, rank: int) -> None:
        super().__init__()
        self.branches = branches
        self.down = nn.Linear(embedding, rank, bias=False)
        self.up = nn.Linear(rank, 3 * width * branches)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, context: Context) -> tuple[Modulation, ...]:
        """One Modulation a branch, each part (B, width)."""
        parts = self.up(self.down(nn.functional.silu(context.embedding))).chunk(3 * self.branches, dim=-1)
        return tuple(Modulation(*parts[3 * i : 3 * i + 3]) for i in range(self.branches))


class Head(nn.Module):
    """Shift and scale before the last layer, as in DiT's final layer; zero at the start."""

    def __init__(self, embedding: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding, 2 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, context: Context) -> tuple[Modulation]:
        """Shift and scale, each (B, width)."""
        shift, scale = self.linear(nn.functional.silu(context.embedding)).chunk(2, dim=-1)
        return (Modulation(shift=shift, scale=scale),)


class AdaLNLoRA(Conditioning):
    """adaLN-Zero with a low-rank regression: 6·D² parameters a block become rank·7·D.

    How much of adaLN-Zero's third of all parameters is needed? (Low-rank adaptation: Hu et al. 2021.)
    """

    name = "adaln_lora"

    rank: Annotated[int, Field(ge=1), Choice(8, 16, 32)] = 16

    def provides(self) -> frozenset[str]:
        """Blocks that add nothing before training, as in adaLN-Zero."""
        return frozenset({"identity_at_start"})

    def requires(self) -> Mapping[str, str]:
        """Blocks of tokens."""
        return {"tokens": "it modulates the norms of a transformer's blocks"}

    def modulation(self, site: Site) -> nn.Module:
        """A low-rank modulation of every branch."""
        return LowRankModulation(site.embedding, site.width, site.branches, self.rank)

    def head(self, site: Site) -> nn.Module:
        """The final layer's own modulation, at full rank: there is but one."""
        return Head(site.embedding, site.width)
