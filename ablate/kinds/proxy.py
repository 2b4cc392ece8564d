"""proxy: a number of an untrained candidate that shall tell, before it is trained, how good it becomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor, nn


class Untrained(ABC):
    """An untrained candidate with the first batch of its training. It is nobody else's, and may be changed."""

    network: nn.Module  # with the initial weights of the trial, in train()
    x: Tensor  # (B, C, H, W) the noisy images of the batch

    @abstractmethod
    def predict(self, x: Tensor) -> Tensor:
        """Evaluate the network on inputs (B, C, H, W), in place of x, with the batch's noise levels and labels.

        (B, C, H, W) in the target's terms, with gradients; 2·C channels with a learned variance.
        """

    @abstractmethod
    def loss(self) -> Tensor:
        """Compute the loss of the batch as it is trained on, (), with gradients."""

    @abstractmethod
    def train(self, steps: int) -> float:
        """Take so many steps of the training, and return the mean loss of the last tenth of them."""


class Proxy(Component):
    """Measures an untrained candidate: a zero-cost proxy, or what a few steps of its training tell.

    A proxy is worth what its rank correlation with the quality after training is, which is measured and not promised:
    benchmarks/proxies.csv has those of the zoo on the recorded table.
    """

    kind: ClassVar[str] = "proxy"
    larger_is_better: ClassVar[bool] = True  # whether a larger number is to mean a better candidate

    @abstractmethod
    def measure(self, untrained: Untrained) -> float:
        """Return the number; NaN where it is not defined for this network. Torch is imported no earlier than this."""
