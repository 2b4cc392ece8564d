"""What steps of a training give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from ablate.kinds.clip import Norms


class Learned(NamedTuple):
    """What one optimizer step of a network gave."""

    loss: Tensor
    norms: Norms  # of the gradient
    rate: float
    terms: Mapping[str, Tensor]


class TrainingStep(NamedTuple):
    """The numbers of one training step. The tensors are on the device: reading them waits for it."""

    number: int  # from 1
    images: int  # seen so far
    loss: Tensor
    gradient_norm: Tensor  # before clipping
    clipped_norm: Tensor  # after it
    rate: float
    companion_loss: Tensor | None = None  # of the network that guidance trains, where it does
    terms: Mapping[str, Tensor] = {}  # the loss in parts, by name, where it has several
