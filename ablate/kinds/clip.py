"""clip: gradient clipping, so that one bad batch does not undo a thousand good ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ablate.spec.component import Component

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Norms(NamedTuple):
    """The L2 norm of all gradients as one vector: 0-d tensors on the device, that nobody has waited for."""

    before: Tensor  # clipping; not finite where a gradient is not
    after: Tensor


class Clip(Component):
    """Bounds gradients in place, after unscaling and before the optimizer's step."""

    kind: ClassVar[str] = "clip"

    @abstractmethod
    def apply(self, parameters: Mapping[str, torch.nn.Parameter]) -> Norms:
        """Clip in place the gradients there are; both norms, without waiting for the device.

        parameters: all that are trained, by name, in the network's order: those of one layer share what
        stands before the last dot, and the last layer comes last.
        """
