"""mlp: the feed-forward network of a transformer's block, over each token by itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import nn


class Mlp(Component):
    """Builds the second branch of a transformer's block: every token is transformed by itself."""

    kind: ClassVar[str] = "mlp"

    @abstractmethod
    def build(self, width: int, hidden: int) -> nn.Module:
        """Build a module `forward(x)`, (B, N, width) -> (B, N, width).

        hidden: the hidden width of an MLP of two matrices. One of another form has about as many parameters, so that
        a study compares forms and not sizes.
        """
