"""objective: what training minimises, as a sum of named terms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ablate.spec.component import Component, InputSpec
from ablate.spec.inputs import ConditionSpec

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from ablate.kinds.conditions import Labels
    from ablate.kinds.data import Dataset
    from ablate.kinds.loss import Loss
    from ablate.kinds.noised import Level, Noised
    from ablate.kinds.process import Process

Terms = Mapping[str, "Tensor"]  # {name of a term: (B,) fp32}


@dataclass(frozen=True)
class Host:
    """What is known of a network when a term is built for it."""

    setting: InputSpec
    sites: Mapping[str, tuple[int, ...]]  # {block: shape of its output without the batch}, in order of computation


@dataclass(frozen=True)
class Pictures:
    """The training images, for what a term computes of them before the first step.

    `dataset.behind()` has them as pictures where the network sees latents; who looks at pictures requires "pictures".
    """

    dataset: Dataset
    cache: Path  # a folder for what is slow to compute; written atomically
    device: torch.device
    pause: Callable[[], None]  # to be called now and then; it may raise to stop


class Model(Protocol):
    """The model that is trained, as a term sees it within one step. Predictions are in the target's own terms.

    A level may have another one beside it, `towards`, for networks with a second noise label (capability
    "second_label"): they predict for the way from `level` to it.
    """

    process: Process
    loss: Loss  # the candidate's
    progress: float  # share of the training that is done, in [0, 1]

    def predict(self, x: Tensor, level: Level, labels: Labels, towards: Level | None = None) -> Tensor:
        """Compute the prediction at x, (B, C, H, W), with gradients; twice the channels with a learned variance.

        The first call within a step is its shared pass: `prediction`, `hidden` and `activation` are of it.
        """
        ...

    def averaged(self, x: Tensor, level: Level, labels: Labels, towards: Level | None = None) -> Tensor:
        """Compute the prediction of the averaged weights (the candidate's `ema`), without gradients."""
        ...

    def detached(self, x: Tensor, level: Level, labels: Labels, towards: Level | None = None) -> Tensor:
        """Compute the prediction of the weights as they are, without gradients; it is never the shared pass."""
        ...

    def teacher(self, x: Tensor, level: Level, labels: Labels, towards: Level | None = None) -> Tensor:
        """Compute the prediction of the teacher (`TaughtObjective`), without gradients, in evaluation mode.

        Raises RuntimeError where there is none.
        """
        ...

    def derivative(
        self, x: Tensor, t: Tensor, labels: Labels, along: Tensor, towards: Level | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the prediction at (x, t), and its derivative along the direction (`along`, 1) of (x, t).

        Forward-mode differentiation in fp32, without gradients of the weights; t (B,) float64. `towards` stays.
        """
        ...

    def dropped(self, labels: Labels) -> Labels:
        """Return the labels with every condition dropped (the null class), as guidance needs them; None for None."""
        ...

    def is_dropped(self, labels: Labels) -> Tensor:
        """Return of which images the condition is dropped already, (B,) bool."""
        ...

    def level(self, uniform: Tensor) -> Level:
        """Return the levels that the candidate's density draws for numbers uniform in [0, 1). (B,)."""
        ...

    def uniform(self, stream: str, noised: Noised) -> Tensor:
        """Draw a number uniform in [0, 1) for each image, (B,) float64: by its number in the training, as all draws."""
        ...

    def precision(self) -> AbstractContextManager[Any]:
        """Return the candidate's number format for a forward pass (autocast)."""
        ...

    @property
    def prediction(self) -> Tensor:
        """What the shared pass predicts. Raises RuntimeError before it."""
        ...

    @property
    def hidden(self) -> Tensor | None:
        """Where the shared pass hid the image from the network, (B, 1, H, W) bool; None: nowhere, as in eval().

        Of networks that hide patches in training ("masked_patches"). Raises RuntimeError before the shared pass.
        """
        ...

    def activation(self, site: str) -> Tensor:
        """What a block gave in the shared pass, (B, ...), in the network's number format, with gradients."""
        ...


class Objective(Component):
    """Says what training minimises: builds a module that gives the terms of a batch, whose sum is the loss.

    The module may have parameters of its own, such as a projector. They are trained by the candidate's optimizer,
    clipped with the others, kept in the checkpoint, and counted in the memory estimate and the cost of training;
    the network's parameters and Gflops do not count them. Buffers are kept too. What it draws comes from
    `model.uniform`, or from torch's global generator, which is seeded for each step.

    Capabilities that others look for: "activations" (a step has a shared pass at a noised batch, whose
    activations an auxiliary may read), "prediction" (that pass is at the batch itself, and predicts the target).
    """

    kind: ClassVar[str] = "objective"
    # Whether a step is one pass of the network at the batch, and nothing else that costs: then cost and memory of the
    # training are counted of the network alone.
    one_pass: ClassVar[bool] = False
    # Whether it learns from the network whose weights the training begins with (`start`): `model.teacher`. It requires
    # "start_network", which files of weights do not say.
    taught_by_start: ClassVar[bool] = False
    unread: ClassVar[tuple[str, ...]] = ()  # fields of the candidate that have no effect with it: "loss", "weighting"

    @abstractmethod
    def build(self, host: Host) -> nn.Module:
        """Build a module `forward(noised, labels, model)` -> {name: (B,) fp32}, the terms of each image.

        noised: the batch, x = α·x0 + σ·ε with its levels; labels: (B,) int64, None, or a record of conditions; model: a
        `Model`. A term of
        the whole batch gives each image the same number. It must run on the meta device.
        """

    def conditions(self, setting: InputSpec) -> tuple[ConditionSpec, ...]:
        """Return what it tells the network beside what data and augmentation do."""
        return ()

    def couples(self) -> bool:
        """Return whether a term of an image depends on the others of its batch: then it is never cut into parts."""
        return False

    def drop_rate(self) -> float:
        """Return the share of training labels that the null class is to replace, in [0, 1).

        The larger one of this and the guidance's counts. One above 0 requires "null_class" and "labels".
        """
        return 0.0

    def sites(self, host: Host) -> Sequence[str]:
        """Return the blocks whose activations it reads."""
        return ()

    def unfit(self, process: Process) -> str | None:
        """Return why it cannot train such a process, and what to do; None where it can.

        σ_data is 0.5 here unless the candidate says it. It may import torch.
        """
        return None

    def prepare(self, term: Any, pictures: Pictures) -> None:
        """Give the built module what it needs of the training images; called once in a process, before a step."""
