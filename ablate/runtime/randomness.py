"""Common random numbers: every draw of a trial depends only on (seed, stream, number of the image).

So all candidates of one seed see the same data order, the same noise and the same evaluation
latents, whatever their batch sizes are, and a resumed trial draws what it would have drawn. No
generator's state is ever saved.

What belongs to an image is drawn in blocks of neighbouring image numbers, one seed a block: a
generator for each image would cost more than the numbers themselves.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ablate.runtime.states import Seed

BLOCK = 128  # training images that share a seed
SAMPLES = 250  # images sampled for evaluation that share a seed
VALUES = 2**22  # numbers in one block, at the most: large images come in smaller blocks


def block_size(most: int, shape: Sequence[int]) -> int:
    """Return how many images of that shape share a seed: at most `most`, fewer where they are large."""
    return max(1, min(most, VALUES // max(1, math.prod(shape))))


class Part(NamedTuple):
    """The part of a block of images that a batch takes."""

    block: int
    rows: slice  # of the block
    place: slice  # of the batch


def parts(first: int, count: int, size: int) -> Iterator[Part]:
    """Yield the blocks of `size` images that hold the images number first … first + count − 1."""
    for block in range(first // size, (first + count - 1) // size + 1):
        begin, end = max(first, block * size), min(first + count, (block + 1) * size)
        rows = slice(begin - block * size, end - block * size)
        yield Part(block, rows, slice(begin - first, end - first))


def mix(seed: int, stream: str, counter: int) -> int:
    """Hash seed, stream and counter to a 63-bit seed."""
    text = f"{seed}/{stream}/{counter}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


class RandomStreams:
    """The random streams of one trial on one device."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.device = device
        self._order: dict[int, Tensor] = {}
        self._begun: dict[str, tuple[int, Tensor]] = {}  # the block of a stream that a batch took a part of

    def at(self, stream: str, counter: int) -> torch.Generator:
        """Return a new generator at the beginning of an entry of a stream; any number of them can be held together."""
        return torch.Generator(self.device).manual_seed(mix(self.seed, stream, counter))

    def uniform(self, stream: str, first: int, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw numbers uniform in [0, 1) for the images number first … first + count − 1. (count,)."""

        def draw(values: Tensor, generator: torch.Generator) -> None:
            values.uniform_(generator=generator)

        return self._drawn(stream, first, (count,), BLOCK, dtype, draw)

    def normal(self, stream: str, first: int, shape: Sequence[int]) -> Tensor:
        """Draw standard normal numbers for the images number first … first + B − 1, of shape (B, ...), fp32."""

        def draw(values: Tensor, generator: torch.Generator) -> None:
            values.normal_(generator=generator)

        return self._drawn(stream, first, shape, block_size(BLOCK, shape[1:]), torch.float32, draw)

    def _drawn(
        self,
        stream: str,
        first: int,
        shape: Sequence[int],
        size: int,
        dtype: torch.dtype,
        draw: Callable[[Tensor, torch.Generator], None],
    ) -> Tensor:
        """Draw a batch from blocks of `size` images; of a block cut in two the rest waits for the next batch."""
        device = torch.device("cpu") if dtype == torch.float64 and self.device.type == "mps" else self.device
        batch = torch.empty(tuple(shape), dtype=dtype, device=device)
        for block, rows, place in parts(first, shape[0], size):
            whole = rows == slice(0, size)
            begun = self._begun.get(stream)
            if begun is not None and begun[0] == block and not whole:
                batch[place] = begun[1][rows]
                continue
            values = batch[place] if whole else batch.new_empty((size, *shape[1:]))
            draw(values, torch.Generator(device).manual_seed(mix(self.seed, stream, block)))
            if not whole:
                batch[place] = values[rows]
                self._begun[stream] = block, values
        return batch

    def order(self, first: int, count: int, total: int) -> Tensor:
        """Return the data indices of the images number first … first + count − 1: `total` ones, shuffled each epoch."""
        indices = []
        while count > 0:
            epoch, begin = divmod(first, total)
            length = min(count, total - begin)
            indices.append(self._epoch(epoch, total)[begin : begin + length])
            first, count = first + length, count - length
        return torch.cat(indices)

    def _epoch(self, epoch: int, total: int) -> Tensor:
        if epoch not in self._order:
            generator = torch.Generator().manual_seed(mix(self.seed, "order", epoch))
            self._order = {epoch: torch.randperm(total, generator=generator).to(self.device)}
        return self._order[epoch]


class SampleGenerator(torch.Generator):
    """The random generator of a solver: what it draws for an image does not depend on the batch it is sampled in.

    Each block of SAMPLES image numbers has a generator of its own, which draws for the whole block.
    Whoever hands this one to torch directly gets numbers that are paired over candidates, but not over
    the sizes of batches.
    """

    _blocks: list[tuple[torch.Generator, Part]]
    _size: int

    @classmethod
    def of(cls, seed: int, first: int, shape: Sequence[int], device: torch.device) -> SampleGenerator:
        """Make the generator for the images number first … first + B − 1 of a trial's samples, of shape (B, ...)."""
        generator = cls(device)
        generator._size = block_size(SAMPLES, shape[1:])
        pieces = list(parts(first, shape[0], generator._size))
        generator._blocks = [
            (torch.Generator(device).manual_seed(mix(seed, "latents", part.block)), part) for part in pieces
        ]
        generator.manual_seed(mix(seed, "solver", first))
        return generator

    def normal(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Draw standard normal numbers for these images, (B, ...)."""
        batch = torch.empty(tuple(shape), dtype=dtype, device=self.device)
        for generator, (_, rows, place) in self._blocks:
            if rows == slice(0, self._size):
                batch[place].normal_(generator=generator)
            else:
                batch[place] = batch.new_empty((self._size, *shape[1:])).normal_(generator=generator)[rows]
        return batch


def normal(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Draw standard normal numbers on the generator's own device; by image where the generator tells images apart."""
    if isinstance(generator, SampleGenerator):
        return generator.normal(shape, dtype)
    return torch.randn(tuple(shape), generator=generator, device=generator.device, dtype=dtype)


def seed_everything(seed: int, stream: str, counter: int) -> None:
    """Seed the global generators of torch, numpy and Python, which initial weights and dropout draw from.

    Torch's are those of the CPU and of the current GPU; `torch.manual_seed` formats three stack traces for devices
    that are not there, which would be half a millisecond a step.
    """
    seed_all(mix(seed, stream, counter))


def seed_all(value: int) -> None:
    """Seed the global generators with a given seed, for checks; a seed that a component sets instead is noticed."""
    Seed.busy = True
    Seed.set(value)
    torch.default_generator.manual_seed(value)
    if _has_cuda():
        torch.cuda.manual_seed(value)
    if _has_mps():
        torch.mps.manual_seed(value)
    Seed.busy = False


@cache
def _has_cuda() -> bool:
    return torch.cuda.is_available()


@cache
def _has_mps() -> bool:
    return torch.backends.mps.is_available()
