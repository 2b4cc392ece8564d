"""mixer: what lets the tokens of a sequence see each other, such as self-attention."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ablate.kinds.conditioning import Site
from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor, nn


class Layout(NamedTuple):
    """How the tokens of a sequence (B, L + N, D) lie: L tokens without a place, then those of the patches in rows."""

    joined: int  # L: registers, and tokens of the condition
    grid: tuple[int, int] | None  # (rows, columns) of the patches; None: some have left, or were merged
    # cos and sin by which queries and keys turn, each (L + N, d/2) or (B, 1, L + N, d/2), d the width of a head
    rotation: tuple[Tensor, Tensor] | None = None

    def select(self, index: Tensor) -> Layout:
        """Return the layout of some patches behind the same L tokens. index: (B, K), numbers of patches from 0."""
        if self.rotation is None:
            return Layout(self.joined, None)
        cos, sin = (_select(angles, self.joined, index) for angles in self.rotation)
        return Layout(self.joined, None, (cos, sin))


def _select(angles: Tensor, joined: int, index: Tensor) -> Tensor:
    """Return (B, 1, L + K, d/2) of (L + N, d/2)."""
    import torch

    front = angles[:joined].expand(len(index), -1, -1)
    return torch.cat([front, angles[joined:][index]], dim=1)[:, None]


def no_norm() -> None:
    """Build no norm of queries and keys."""


@dataclass(frozen=True)
class MixerSite(Site):
    """The place of a mixer in the network, and what the network says of its queries and keys."""

    zero_init: bool = False  # whether the mixer's last layer starts at zero, so that it adds nothing
    bias: bool = True  # whether the layers that make queries, keys and values have biases
    # Builds a module (q, k) -> (q, k) over (B, heads, N, d), d = width/heads, or gives None: as they are.
    query_key_norm: Callable[[], nn.Module | None] = no_norm


class Mixer(Component):
    """Builds the first branch of a transformer's block, or the attention of a U-Net: tokens see each other.

    A mixer that reads `layout.grid` as that of all patches says so in `excludes()`: "routed_tokens" is there where a
    network's routing takes patches away.
    """

    kind: ClassVar[str] = "mixer"

    @abstractmethod
    def build(self, site: MixerSite) -> nn.Module:
        """Build a module `forward(x, layout)`.

        x: (B, L + N, site.width), normalised and modulated; layout: a `Layout`. Returns the same shape, which is added
        to the features that pass by. `site.resolution` is (rows, columns) of the patches. A network begins the linear
        layers below by its own initialisation. A probe sees queries and keys where a submodule `query_key` passes
        them, as (B, heads, N, d).
        """
