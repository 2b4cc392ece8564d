"""Mixed precision: what the two 16-bit formats have in common."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ablate.api import Precision

if TYPE_CHECKING:
    import torch


class SixteenBits(Precision):
    """See `ablate_zoo.precision._mixed`."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The format."""

    def forward(self, device: torch.device) -> AbstractContextManager[Any]:
        """torch.autocast; norms, softmax, exponentials and reductions in fp32, on every device."""
        from ablate_zoo.precision._mixed import mixed

        return mixed(device, self.dtype)

    def refuse_on(self, device: torch.device) -> str | None:
        """Where a small network cannot be trained in it."""
        from ablate_zoo.precision._mixed import training_problem

        why = training_problem(device, self.dtype)
        return None if why is None else f"{device.type} cannot train in {self.name} ({why}); say precision: fp32"

    def warn_on(self, device: torch.device) -> str | None:
        """Where the processor does not compute in it."""
        from ablate_zoo.precision._mixed import emulated

        why = emulated(device, self.dtype)
        return None if why is None else f"{self.name} is emulated on this {device.type} ({why})"
