"""Random streams whose numbers stand in the same place in every step, so that a captured step finds them there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ablate.runtime.randomness import RandomStreams


class StaticDraws(RandomStreams):
    """Draws what other streams draw, for the batch that `begin` names, into tensors that stay.

    What a step asks for the first time is drawn at once; `begin` then draws all of it anew for the next batch. Whoever
    asks gets a copy, which he may change.
    """

    def __init__(self, streams: RandomStreams) -> None:
        super().__init__(streams.seed, streams.device)
        self._streams = streams
        self._first = 0
        self._buffers: dict[tuple[object, ...], tuple[Tensor, Callable[[int], Tensor]]] = {}

    def begin(self, first: int) -> None:
        """Draw for the batch that begins with the image of this number."""
        self._first = first
        for kept, draw in self._buffers.values():
            kept.copy_(draw(first))

    def uniform(self, stream: str, first: int, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """As the streams do."""
        offset = first - self._first
        return self._kept(
            ("uniform", stream, offset, count, dtype),
            lambda begin: self._streams.uniform(stream, begin + offset, count, dtype),
        )

    def normal(self, stream: str, first: int, shape: Sequence[int]) -> Tensor:
        """As the streams do."""
        offset, size = first - self._first, tuple(shape)
        return self._kept(
            ("normal", stream, offset, size), lambda begin: self._streams.normal(stream, begin + offset, size)
        )

    def order(self, first: int, count: int, total: int) -> Tensor:
        """As the streams do."""
        offset = first - self._first
        return self._kept(
            ("order", offset, count, total), lambda begin: self._streams.order(begin + offset, count, total)
        )

    def _kept(self, what: tuple[object, ...], draw: Callable[[int], Tensor]) -> Tensor:
        if what not in self._buffers:
            self._buffers[what] = draw(self._first).clone(), draw
        return self._buffers[what][0].clone()
