"""coupling: which noise meets which image within a batch."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor


class Coupling(Component):
    """Permutes the noise of a batch before it is added.

    The noise that enters is the same for every candidate of a seed; a coupling only says which image gets which. It
    sees the whole batch, before that is cut into parts: gradient accumulation changes nothing.
    """

    kind: ClassVar[str] = "coupling"

    @abstractmethod
    def order(self, x0: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor | None:
        """Return a permutation of the batch, (B,) int64: image i gets noise[order[i]]. None: as they come.

        x0: (B, C, H, W) fp32, what the network sees without noise; noise: alike, standard normal; labels: (B,) int64
        before any is dropped, or None. It draws nothing.
        """
