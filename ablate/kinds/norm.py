"""norm: the normalisation of tokens before, behind or after the branches of a transformer's block."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import nn


class Norm(Component):
    """Builds the norms of a transformer: each token is normalised by itself, over its numbers.

    One whose output grows with what it is given says "unnormalised" in `provides()`.
    """

    kind: ClassVar[str] = "norm"
    reads_noise: ClassVar[bool] = False  # whether its modules are `forward(x, noise)`, with the noise labels (B,)

    @abstractmethod
    def build(self, width: int, affine: bool) -> nn.Module:
        """Build a module `forward(x)`, (..., width) -> (..., width), finite for any finite x.

        With `reads_noise` it is `forward(x, noise)`, x (B, ..., width), noise (B,): the labels of `Context.noise`.

        affine: with a learned scale, and a shift where the norm takes the mean away; without, it has no parameters,
        since what follows it modulates. A norm counts in `gflops` where it is one operation of torch's.
        """
