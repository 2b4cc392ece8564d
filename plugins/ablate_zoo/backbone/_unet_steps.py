"""The steps of a U-Net's encoder and decoder, and the numbers that have to divide one another; without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class UNetStep:
    """One step of a U-Net: a residual block at a level, or a change of resolution between two levels."""

    level: int  # 0 is the image's own size; each level down halves it
    inputs: int  # channels
    outputs: int
    resample: Literal["down", "up"] | None = None
    skip: int | None = None  # channels of the skip that is fused first; None: no skip
    before: int = 0  # channels of what it is fused with
    last: bool = True  # the last block of its level in the encoder or decoder
    part: Literal["encoder", "middle", "decoder"] = "encoder"
    index: int = 0  # of a block, among those of its part at this level


def encoder_steps(stem: int, channels: Sequence[int], blocks: Sequence[int]) -> Iterator[UNetStep]:
    """Yield the encoder's steps: at each level its blocks, then half the size.

    stem: channels at the start; channels, blocks: one number for each level.
    """
    width = stem
    for level, outputs in enumerate(channels):
        for i in range(blocks[level]):
            yield UNetStep(level, width, outputs, last=i == blocks[level] - 1, index=i)
            width = outputs
        if level < len(channels) - 1:
            yield UNetStep(level + 1, width, width, resample="down")


def decoder_steps(
    stem: int, channels: Sequence[int], blocks: Sequence[int], fused: Callable[[int, int], int]
) -> Iterator[UNetStep]:
    """Yield the decoder's steps: from the deepest level up, one block more than in the encoder, then twice the size.

    fused(channels, skip channels) -> channels of what the two become. Every output of the encoder, and of the
    convolution before it, is the skip connection of one block.
    """
    skips = [stem, *(step.outputs for step in encoder_steps(stem, channels, blocks))]
    width = channels[-1]
    for level in reversed(range(len(channels))):
        for i in range(blocks[level] + 1):
            skip = skips.pop()
            inputs, is_last = fused(width, skip), i == blocks[level]
            yield UNetStep(level, inputs, channels[level], None, skip, width, is_last, "decoder", i)
            width = channels[level]
        if level:
            yield UNetStep(level - 1, width, width, resample="up", part="decoder")


def nearest(target: int, among: Iterable[int]) -> int:
    """Return the number that is closest to the target; the smaller of two."""
    return min(among, key=lambda n: (abs(n - target), n))


def divisors(*numbers: int) -> list[int]:
    """Return the common divisors of some numbers."""
    common = math.gcd(*numbers)
    return [n for n in range(1, common + 1) if not common % n]


def heads_for(channels: int, heads: int) -> int:
    """Return the largest number of attention heads, up to the wanted one, that divides the channels."""
    return max(n for n in divisors(channels) if n <= max(heads, 1))
