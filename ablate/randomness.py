"""Paired randomness: every draw of a trial is a function of (seed, stream, counter) alone.

So all candidates of one seed see the same data order, the same noise and the same evaluation
latents, and a resumed trial draws what it would have drawn. No generator's state is ever saved.
"""

from __future__ import annotations

import hashlib
from functools import cache

import torch
from torch import Tensor


def mix(seed: int, stream: str, counter: int) -> int:
    """A 63-bit seed that looks random, and differs in every argument."""
    text = f"{seed}/{stream}/{counter}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


class Draws:
    """The random streams of one trial on one device."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.device = device
        self._generator = torch.Generator(device)
        self._order: dict[int, Tensor] = {}

    def at(self, stream: str, counter: int) -> torch.Generator:
        """The generator, set to the beginning of a stream's entry; the next call moves it on."""
        return self._generator.manual_seed(mix(self.seed, stream, counter))

    def order(self, first: int, count: int, total: int) -> Tensor:
        """Indices of the images number first … first + count − 1 of an endless shuffled pass over `total`."""
        wanted = []
        while count > 0:
            epoch, begin = divmod(first, total)
            taken = min(count, total - begin)
            wanted.append(self._epoch(epoch, total)[begin : begin + taken])
            first, count = first + taken, count - taken
        return torch.cat(wanted)

    def _epoch(self, epoch: int, total: int) -> Tensor:
        if epoch not in self._order:
            generator = torch.Generator().manual_seed(mix(self.seed, "order", epoch))
            self._order = {epoch: torch.randperm(total, generator=generator).to(self.device)}
        return self._order[epoch]


def seed_everything(seed: int, stream: str, counter: int) -> None:
    """Set torch's global generators, which initial weights and dropout draw from.

    Those of the CPU and of the current GPU; `torch.manual_seed` formats three stack traces for devices
    that are not there, which would be half a millisecond a step.
    """
    value = mix(seed, stream, counter)
    torch.default_generator.manual_seed(value)
    if _has_cuda():
        torch.cuda.manual_seed(value)


@cache
def _has_cuda() -> bool:
    return torch.cuda.is_available()
