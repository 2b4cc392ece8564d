"""Checks of an augmentation: images stay images, and each is changed by its own numbers alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ablate.kinds.augmentation import Augmentation, Augmented
from ablate.runtime.randomness import RandomStreams
from ablate.testing.case import Case, Check

COUNT = 12
CPU = torch.device("cpu")


def gives_images(case: Case) -> None:
    """(B, C, H, W) fp32 in [-1, 1] to the same, finite; the images that it is given are not changed."""
    for part in _variants(case):
        x0 = _images()
        images = _applied(part, x0).images
        assert images.shape == x0.shape and images.dtype == x0.dtype, f"{part!r}: {images.dtype} {tuple(images.shape)}"
        assert images.isfinite().all() and images.abs().max() <= 1 + 1e-5, f"{part!r}: leaves [-1, 1]"
        assert torch.equal(x0, _images()), f"{part!r}: changes the images that it is given"


def draws_by_the_image(case: Case) -> None:
    """What becomes of an image follows from its number: the same again, and in whatever batch it comes."""
    for part in _variants(case):
        x0 = _images()
        whole, again = _applied(part, x0).images, _applied(part, x0).images
        assert torch.equal(whole, again), f"{part!r}: another change each time; draw by `uniform`"
        cut = torch.cat([_applied(part, x0[i : i + 5], i).images for i in range(0, COUNT, 5)])
        assert torch.equal(whole, cut), f"{part!r}: the rest of the batch decides what becomes of an image"


def tells_what_it_mirrors(case: Case) -> None:
    """Where it says which images are mirrored, these are, and nothing else changed; what else alters is said."""
    for part in _variants(case):
        x0 = _images()
        images, mirrored = _applied(part, x0)[:2]
        flags = torch.zeros(COUNT, dtype=torch.bool) if mirrored is None else mirrored
        assert flags.shape == (COUNT,) and flags.dtype == torch.bool, f"{part!r}: mirrored is {flags.dtype}"
        plain = torch.equal(images, torch.where(flags[:, None, None, None], x0.flip(-1), x0))
        assert plain or "altered_pictures" in part.provides(), (
            f"{part!r}: does more than it says in `mirrored`; say 'altered_pictures' in provides()"
        )


def _variants(case: Case) -> list[Augmentation]:
    return [part for part in case.variants(numbers=True) if isinstance(part, Augmentation)]


def _images() -> Tensor:
    return torch.rand(COUNT, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _applied(part: Augmentation, x0: Tensor, first: int = 0) -> Augmented:
    draws = RandomStreams(0, CPU)
    return part.apply(x0, lambda stream: draws.uniform(stream, first, len(x0)))


CHECKS: tuple[Check, ...] = (gives_images, draws_by_the_image, tells_what_it_mirrors)
