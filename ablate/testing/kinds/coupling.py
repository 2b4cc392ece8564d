"""Checks of a coupling: a permutation of the batch, that the batch alone decides."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ablate.kinds.coupling import Coupling
from ablate.testing.case import Case, Check


def permutes_the_batch(case: Case) -> None:
    """It gives None, or each index of the batch once, (B,) int64; for one image too, and with labels and without."""
    for part in _variants(case):
        for count in (1, 2, 9):
            for x0, noise, labels in _batches(count):
                order = part.order(x0, noise, labels)
                if order is None:
                    continue
                assert order.shape == (count,) and order.dtype == torch.int64, (
                    f"{part!r}: {order.dtype} {tuple(order.shape)} for {count} images, not int64 ({count},)"
                )
                assert sorted(order.tolist()) == list(range(count)), f"{part!r}: {order.tolist()} is no permutation"


def is_decided_by_the_batch(case: Case) -> None:
    """One batch gives one order, and nothing of it is changed."""
    for part in _variants(case):
        for x0, noise, labels in _batches(9):
            before = x0.clone(), noise.clone()
            first, second = part.order(x0, noise, labels), part.order(x0, noise, labels)
            same = first is second is None or (first is not None and second is not None and torch.equal(first, second))
            assert same, f"{part!r}: two orders of one batch"
            assert torch.equal(x0, before[0]) and torch.equal(noise, before[1]), f"{part!r}: changes the batch"


def _variants(case: Case) -> list[Coupling]:
    return [part for part in case.variants() if isinstance(part, Coupling)]


def _batches(count: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    generator = torch.Generator().manual_seed(count)
    x0, noise = torch.randn(2, count, 2, 4, 4, generator=generator)
    yield x0.clamp(-1, 1), noise, None
    yield x0.clamp(-1, 1), noise, torch.arange(count) % 3


CHECKS: tuple[Check, ...] = (permutes_the_batch, is_decided_by_the_batch)
