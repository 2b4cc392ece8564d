"""conditioning: how time and class enter a block, at four places that every block offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor, nn


class Context(NamedTuple):
    """The condition, as the modules of a network see it, once per forward pass."""

    embedding: Tensor  # (B, E): time, class and further conditions in one vector
    tokens: Tensor  # (B, L, E): the same as a sequence: time, class, and the tokens of further conditions
    noise: Tensor  # (B,): the label c_noise itself; it grows with the noise, on a scale of the precondition's
    mask: Tensor | None = None  # (B, L) bool, False where a token is padding; None: all count
    channels: Tensor | None = None  # (B, C, H, W), images that are conditions; they join the noisy one's channels


class Modulation(NamedTuple):
    """The modulation of one residual branch by the condition; each (B, width) or None for nothing.

    Where a network's condition is of each token, (B, N, E), so is the modulation, (B, N, width).

    h = branch(norm(x + bias) * (1 + scale) + shift);  x = x + gate * h
    """

    shift: Tensor | None = None
    scale: Tensor | None = None
    gate: Tensor | None = None
    bias: Tensor | None = None


@dataclass(frozen=True)
class Site:
    """The place in the network of a conditioning or a fusion. None: the backbone does not say."""

    width: int  # channels of the features that pass by
    embedding: int  # width E of the context's vectors
    branches: int = 2  # residual branches of a block (attention and MLP: 2)
    heads: int = 1  # attention heads, where the conditioning attends
    zero_init: bool = True  # whether what the conditioning would start at zero does so
    block: int | None = None  # which block it is in or before, from 0 in the order of the forward pass
    blocks: int | None = None  # how many blocks the network has
    resolution: tuple[int, int] | None = None  # (H, W) of the feature maps, or of the grid of tokens


class Conditioning(Component):
    """Builds the modules through which a condition enters; each place is optional.

    A block of tokens calls, in this order: `sequence` once before the first block, then in each
    block `modulation` and, after the first branch, `attention`; `head` before the last layer.
    A block of feature maps has one branch, whose norm is the second one of the residual block (between
    the two convolutions); it hands its maps to `attention` as (B, H·W, C), after the branch.
    A conditioning declares in `requires()` what it needs of the backbone: "tokens" for sequences
    (B, N, D), "feature_maps" for (B, C, H, W). It says "identity_at_start" in `provides()` where every
    block adds nothing before training: all gates are zero, and so is what `attention` gives.
    """

    kind: ClassVar[str] = "conditioning"
    reads_heads: ClassVar[bool] = False  # whether it attends with the heads of its site

    def sequence(self, site: Site) -> nn.Module | None:
        """Build `forward(context) -> (B, L, width)`: tokens that join the sequence, and leave at the end."""
        return None

    def modulation(self, site: Site) -> nn.Module | None:
        """Build `forward(context) -> tuple[Modulation, ...]`, one a branch. None: norms keep their own affine."""
        return None

    def attention(self, site: Site) -> nn.Module | None:
        """Build `forward(x, context) -> (B, N, width)`, which is added to x after the block's first branch."""
        return None

    def head(self, site: Site) -> nn.Module | None:
        """Build `forward(context) -> tuple[Modulation]` for the norm before the last layer."""
        return None
