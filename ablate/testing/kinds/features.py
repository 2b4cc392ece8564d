"""Checks of features: finite vectors that an image alone decides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from ablate.component import Setting
from ablate.errors import InputError
from ablate.kinds.features import Extractor, Features
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.networks import close

SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28)]


def gives_finite_vectors(case: Case) -> None:
    """(B, C, H, W) uint8 to (B, D) fp32, finite, of one D for images of one size, without a gradient."""
    for extract, shape in _looks(case):
        vectors = extract(_images(shape))
        assert vectors.ndim == 2 and len(vectors) == 4, f"{tuple(vectors.shape)} for four images {shape}"
        assert vectors.dtype == torch.float32, f"{vectors.dtype}, not fp32"
        assert vectors.isfinite().all(), f"not finite for images {shape}"
        assert not vectors.requires_grad, "the features keep a graph: compute them without gradients"


def is_deterministic(case: Case) -> None:
    """The same images give the same vectors, bit by bit, and it changes no image."""
    for extract, shape in _looks(case):
        images = _images(shape)
        assert torch.equal(extract(images), extract(images)), "two looks, two vectors"
        assert torch.equal(images, _images(shape)), "the images are changed"


def looks_at_each_image_alone(case: Case) -> None:
    """An image's vector does not depend on the rest of the batch; different images have different vectors."""
    for extract, shape in _looks(case):
        images = _images(shape)
        vectors = extract(images)
        alone = torch.cat([extract(image[None]) for image in images])
        assert close(alone, vectors, 1e-3), "an image alone is seen differently than in a batch"
        assert (vectors[0] - vectors[1]).abs().max() > 0, "two images look the same"


def names_its_weights(case: Case) -> None:
    """`weights_hash` is a SHA-256 that does not change."""
    part = case.component
    assert isinstance(part, Features)
    hashes = {part.weights_hash(), part.weights_hash()}
    whole = all(re.fullmatch(r"[0-9a-f]{64}", one) for one in hashes)
    assert len(hashes) == 1 and whole, f"{hashes} is no SHA-256 in hexadecimal"


def _looks(case: Case) -> Iterator[tuple[Extractor, tuple[int, int, int]]]:
    part = case.component
    assert isinstance(part, Features)
    shapes = [shape for shape in SHAPES if part.refuse(Setting(shape, None)) is None]
    if not shapes:
        raise NotApplicable(str(part.refuse(Setting(SHAPES[0], None))))
    try:
        extract = _extractor(part)
    except InputError as error:
        raise NotApplicable(f"not to be had here: {error}") from None
    for shape in shapes:
        yield extract, shape


@lru_cache(maxsize=1)
def _extractor(part: Features) -> Extractor:
    return part.build(torch.device("cpu"))


def _images(shape: tuple[int, int, int]) -> Tensor:
    return torch.randint(0, 256, (4, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


CHECKS: tuple[Check, ...] = (gives_finite_vectors, is_deterministic, looks_at_each_image_alone, names_its_weights)
