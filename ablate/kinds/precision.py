"""precision: in which number format the network runs. Weights and optimizer stay in fp32."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from ablate.component import Component

if TYPE_CHECKING:
    import torch


class Precision(Component):
    """Casts around the network's forward pass; losses, clipping and sampling stay in fp32."""

    kind: ClassVar[str] = "precision"

    @abstractmethod
    def forward(self, device: torch.device) -> AbstractContextManager[Any]:
        """The context in which the network is called."""

    @abstractmethod
    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Scales the loss so that small gradients survive; a disabled one where none is needed."""
