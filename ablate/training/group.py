"""Processes that share the steps of one training: each takes a share of the batch, and the gradients are summed.

Data parallelism, as in Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training". All
draws are made for the whole batch by every process, so that an image is shown with what it would be shown with anyway;
all processes take the same optimizer step, so that their weights stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Order(IntEnum):
    """What the first process tells the others to do next."""

    STEP = 1
    END = 2
    STATE = 3  # gather the state of the training, of which each has a part
    SNAPSHOT = 4  # the same of the averages alone


class Group(NamedTuple):
    """One of several processes that share a training. rank: 0 … size − 1; the first one leads.

    control: torch's group in which orders are given; None: the one of the gradients.
    """

    rank: int
    size: int
    control: dist.ProcessGroup | None = None

    def share(self, images: int) -> slice:
        """Return which images of a batch this process takes; shares differ by one image at most."""
        return slice(self.rank * images // self.size, (self.rank + 1) * images // self.size)

    @torch.no_grad()
    def sum(self, parameters: Iterable[nn.Parameter], numbers: Sequence[Tensor]) -> None:
        """Sum the gradients, and some numbers on the device, over all processes, in place."""
        values = [p.grad for p in parameters if p.grad is not None]
        values += numbers
        for kind in dict.fromkeys(value.dtype for value in values):
            alike = [value for value in values if value.dtype == kind]
            flat = torch.cat([value.reshape(-1) for value in alike])
            dist.all_reduce(flat)
            parts = flat.split([value.numel() for value in alike])  # type: ignore[no-untyped-call]
            torch._foreach_copy_(alike, [part.view_as(value) for part, value in zip(parts, alike, strict=True)])

    def order(self, order: Order, budget: float = 0.0) -> tuple[Order, float]:
        """Tell the others what to do next, or be told: (order, images of the whole training)."""
        said = torch.tensor([float(order), budget], dtype=torch.float64)
        dist.broadcast(said, 0, self.control)
        return Order(int(said[0])), float(said[1])

    def compare(self, parameters: Iterable[nn.Parameter]) -> None:
        """Raise RuntimeError where the processes do not begin with the same weights, or not with the same number."""
        sums = [p.detach().double().sum() for p in parameters]
        own = torch.stack([torch.tensor(float(len(sums)), dtype=torch.float64), *(value.cpu() for value in sums)])
        first = own.clone()
        dist.broadcast(first, 0, self.control)
        if not torch.equal(own, first):
            raise RuntimeError(f"process {self.rank} of {self.size} has other weights than the first one")
