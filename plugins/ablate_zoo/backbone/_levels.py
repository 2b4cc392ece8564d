"""Which steps a U-Net takes, with the channels of each: known before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Step:
    """A residual block, or a change of size between two levels."""

    level: int  # 0 is the image's own size; each level down halves it
    inputs: int  # channels
    outputs: int
    resample: Literal["down", "up"] | None = None
    skip: int | None = None  # channels of the skip that is fused first; None: no skip
    before: int = 0  # channels of what it is fused with
    last: bool = True  # the last block of its level in the encoder or decoder


def encoder(stem: int, channels: Sequence[int], blocks: int) -> Iterator[Step]:
    """At each level its blocks, then half the size; stem: channels at the start; channels: one number a level."""
    width = stem
    for level, outputs in enumerate(channels):
        for i in range(blocks):
            yield Step(level, width, outputs, last=i == blocks - 1)
            width = outputs
        if level < len(channels) - 1:
            yield Step(level + 1, width, width, resample="down")


def decoder(stem: int, channels: Sequence[int], blocks: int, fused: Callable[[int, int], int]) -> Iterator[Step]:
    """At each level, from the deepest, one block more than in the encoder, then twice the size.

    fused(channels, skip channels) -> channels of what the two become. Every output of the encoder, and of the
    convolution before it, is the skip of one block.
    """
    skips = [stem, *(step.outputs for step in encoder(stem, channels, blocks))]
    width = channels[-1]
    for level in reversed(range(len(channels))):
        for i in range(blocks + 1):
            skip = skips.pop()
            yield Step(level, fused(width, skip), channels[level], skip=skip, before=width, last=i == blocks)
            width = channels[level]
        if level:
            yield Step(level - 1, width, width, resample="up")


def nearest(wanted: int, among: Iterable[int]) -> int:
    """The number that is closest to the wanted one; the smaller of two."""
    return min(among, key=lambda n: (abs(n - wanted), n))


def divisors(*numbers: int) -> list[int]:
    """What divides all of them."""
    return [n for n in range(1, min(numbers) + 1) if not any(number % n for number in numbers)]


def heads_for(channels: int, heads: int) -> int:
    """The largest number of heads, up to the wanted one, that divides the channels."""
    return max(n for n in divisors(channels) if n <= max(heads, 1))
