"""Gradients of a network's parameters and their L2 norms: what gradient clipping and probes read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the gradients of the parameters that have one, in order."""
    return [p.grad for p in parameters if p.grad is not None]


def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the L2 norm of all tensors as one vector, a 0-d tensor; 0 where there is none."""
    return torch.nn.utils.get_total_norm(tensors)


def total_norms(groups: Iterable[Iterable[Tensor]]) -> Tensor:
    """Return the L2 norm of each group of tensors, (groups,); no group is empty."""
    return torch.stack([total_norm(list(group)) for group in groups])
