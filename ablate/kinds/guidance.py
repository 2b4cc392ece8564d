"""guidance: how a condition is strengthened in sampling, and what training must do for it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ablate.spec.component import Component, InputSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ablate.kinds.conditions import Labels
    from ablate.kinds.noised import Denoised, Level

Predictor = Callable[["Tensor", "Labels"], "Tensor"]  # (x, labels) -> prediction y
Companion = Callable[["Tensor", "Tensor"], "Tensor"]  # (x at unit variance, c_noise) -> its output


class Drops(NamedTuple):
    """How often training leaves out conditions, so that the network learns to do without."""

    together: float  # share of the training images for which all of them are dropped
    each: float = 0.0  # share for which each is dropped by itself, drawn apart
    names: tuple[str, ...] | None = None  # of which conditions; None: of all


class Guidance(Component):
    """Combines predictions of the network under different conditions."""

    kind: ClassVar[str] = "guidance"

    @abstractmethod
    def drop_rate(self) -> float:
        """Return the share of training labels that the null class replaces, in [0, 1)."""

    def drops(self) -> Drops:
        """Return the same for conditions: which are dropped, together and each alone. The class is one of them."""
        return Drops(self.drop_rate())

    @abstractmethod
    def predict(self, predict: Predictor, x: Tensor, labels: Labels, null: int, level: Level) -> Tensor:
        """Compute the guided prediction at x. `null` is the label of the null class; arithmetic in fp32.

        labels: (B,) int64, None, or a record of conditions; `without` and `joined` treat them alike.

        `predict` takes any batch, also one that repeats x, at this one level; `level` is a single
        number () on the CPU, so that asking for its value waits for nothing.
        """

    def guides(self, level: Level) -> bool:
        """Return whether it does anything at a level; one that acts within an interval says where."""
        return True

    @abstractmethod
    def describe(self) -> str:
        """Return its identity in results, such as `cfg(1.5)`."""

    def shift(
        self, judge: Callable[[Tensor], Tensor], denoised: Denoised, x: Tensor, labels: Tensor | None, level: Level
    ) -> Denoised:
        """Move the denoised image and noise at x by what the companion says of x; called where there is a companion."""
        return denoised


class TrainedGuidance(Guidance):
    """Guidance by an auxiliary network, the companion, trained beside the main one on the same noised images.

    The companion changes nothing of the main network's training: it has its own initial weights,
    optimizer and gradients, and draws no random number that the other would have drawn.
    """

    @abstractmethod
    def companion(self, setting: InputSpec) -> nn.Module:
        """Build the companion, a module `forward(x, noise)` -> (B, ...).

        x: (B, C, H, W) fp32, the noised image scaled to unit variance; noise: (B,) fp32, the label
        c_noise = ln(σ/α)/4. It draws its initial weights from torch's global generator.
        """

    @abstractmethod
    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of the companion's parameters; it steps once with each batch."""

    @abstractmethod
    def loss(self, output: Tensor, labels: Tensor | None) -> Tensor:
        """Compute the companion's loss of each image, (B,) fp32."""

    @abstractmethod
    def shift(
        self, judge: Callable[[Tensor], Tensor], denoised: Denoised, x: Tensor, labels: Tensor | None, level: Level
    ) -> Denoised:
        """Move the denoised image and noise at x by what the companion says.

        `judge` maps a batch shaped like x to the companion's output at this one level. It is called
        under `torch.inference_mode`; whoever needs gradients of it opens a scope of their own.
        """
