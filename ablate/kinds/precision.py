"""precision: in which number format the network runs. Weights and optimizer stay in fp32."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    import torch


class Precision(Component):
    """The number format of the network's forward pass (mixed precision).

    Whatever it is, weights, optimizer, losses, clipping, guidance and the solver's arithmetic stay in
    fp32, and so do norms, softmax, exponentials and reductions inside of the network.
    """

    kind: ClassVar[str] = "precision"

    @abstractmethod
    def forward(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context in which the network is called, in training and in sampling."""

    @abstractmethod
    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Return the loss scaler, by which small gradients survive; a disabled one where none is needed.

        An enabled one skips a step whose gradients are not finite; such steps are counted.
        """

    def refuse_on(self, device: torch.device) -> str | None:
        """Explain why it cannot run on the device, and what to do; None if it can. Asked before anything is trained."""
        return None

    def warn_on(self, device: torch.device) -> str | None:
        """Return what makes it slow on the device, such as "bfloat16 is emulated here"; None if nothing.

        Whoever tells the user adds what it costs, by a measurement.
        """
        return None
