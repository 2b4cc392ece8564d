"""Checks of features: finite vectors that an image alone decides. Trained ones are trained on a few images of noise."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ablate.errors import InputError
from ablate.kinds.data import Dataset
from ablate.kinds.features import Extractor, Features
from ablate.spec.component import InputSpec
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.networks import close

SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28)]


def gives_finite_vectors(case: Case) -> None:
    """(B, C, H, W) uint8 to (B, D) fp32, finite, of one D for images of one size, without a gradient."""
    for extract, shape in _extractors(case):
        vectors = extract(_images(shape))
        assert vectors.ndim == 2 and len(vectors) == 4, f"{tuple(vectors.shape)} for four images {shape}"
        assert vectors.dtype == torch.float32, f"{vectors.dtype}, not fp32"
        assert vectors.isfinite().all(), f"not finite for images {shape}"
        assert not vectors.requires_grad, "the features keep a graph: compute them without gradients"


def is_deterministic(case: Case) -> None:
    """The same images give the same vectors, bit by bit, and it changes no image."""
    for extract, shape in _extractors(case):
        images = _images(shape)
        assert torch.equal(extract(images), extract(images)), "two looks, two vectors"
        assert torch.equal(images, _images(shape)), "the images are changed"


def looks_at_each_image_alone(case: Case) -> None:
    """An image's vector does not depend on the rest of the batch; different images have different vectors."""
    for extract, shape in _extractors(case):
        images = _images(shape)
        vectors = extract(images)
        alone = torch.cat([extract(image[None]) for image in images])
        assert close(alone, vectors, 1e-3), "an image alone is seen differently than in a batch"
        assert (vectors[0] - vectors[1]).abs().max() > 0, "two images look the same"


def has_the_heads_that_it_says(case: Case) -> None:
    """Each of `heads` gives (B, D) fp32 with the D that is said, `pooled` what `build` gives; all in one pass."""
    part, images = _prepared_features(case), _images(SHAPES[1])
    heads = part.heads()
    assert "pooled" in heads, f"its heads are {sorted(heads)}: metrics look at 'pooled' unless they say otherwise"
    outputs: Mapping[str, Tensor] = part.build_heads(torch.device("cpu"), set(heads))(images)
    assert set(outputs) == set(heads), f"gives {sorted(outputs)}, and says {sorted(heads)}"
    for head, dimensions in heads.items():
        vectors = outputs[head]
        assert vectors.ndim == 2 and vectors.dtype == torch.float32, f"{head!r}: {vectors.dtype} {tuple(vectors.shape)}"
        assert dimensions in (None, vectors.shape[1]), f"{head!r} has {vectors.shape[1]} dimensions, not {dimensions}"
        assert vectors.isfinite().all(), f"{head!r} is not finite"
    assert close(outputs["pooled"], _extractor(part)(images), 1e-5), "'pooled' is not what build gives"


def has_the_patches_that_it_says(case: Case) -> None:
    """`build_patches` gives (B, D, rows, columns) fp32 as `patches` says before `prepare`, one image at a time."""
    assert isinstance(case.component, Features)
    said, part, images = case.component.patches(), _prepared_features(case), _images(SHAPES[1])
    if said is None:
        return
    look = part.build_patches(torch.device("cpu"))
    maps = look(images)
    assert tuple(maps.shape) == (4, *said), f"gives {tuple(maps.shape[1:])}, and says {said}"
    assert maps.dtype == torch.float32 and maps.isfinite().all(), f"{maps.dtype}, or not finite"
    assert close(look(images[1:2]), maps[1:2], 1e-3), "an image alone is seen differently than in a batch"


def names_its_weights(case: Case) -> None:
    """`weights_hash` is a SHA-256 that does not change."""
    part = _prepared_features(case)
    hashes = {part.weights_hash(), part.weights_hash()}
    whole = all(re.fullmatch(r"[0-9a-f]{64}", one) for one in hashes)
    assert len(hashes) == 1 and whole, f"{hashes} is no SHA-256 in hexadecimal"


def _extractors(case: Case) -> Iterator[tuple[Extractor, tuple[int, int, int]]]:
    part = _prepared_features(case)
    for shape in SHAPES:
        if part.refuse(InputSpec(shape, None)) is None:
            yield _extractor(part), shape


def _prepared_features(case: Case) -> Features:
    part = case.component
    assert isinstance(part, Features)
    reasons = [part.refuse(InputSpec(shape, 2)) for shape in SHAPES]
    if all(reasons):
        raise NotApplicable(str(reasons[0]))
    download = part.missing(_cache())
    if download is not None:
        raise NotApplicable(f"not to be had here: {download}")
    try:
        return _prepare(part)
    except InputError as error:
        raise NotApplicable(f"not to be had here: {error}") from None


@lru_cache(maxsize=1)
def _prepare(part: Features) -> Features:
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 28, 28), dtype=np.uint8)
    labels = np.arange(40) % 2
    noise = Dataset(images[:20], labels[:20], images[20:], labels[20:], 2, "noise")
    return part.prepare(noise, _cache(), torch.device("cpu"), lambda: None)


@lru_cache(maxsize=1)
def _cache() -> Path:
    """Return an empty folder that is gone with this process."""
    folder = tempfile.mkdtemp(prefix="ablate-features-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@lru_cache(maxsize=1)
def _extractor(part: Features) -> Extractor:
    return part.build(torch.device("cpu"))


def _images(shape: tuple[int, int, int]) -> Tensor:
    return torch.randint(0, 256, (4, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


CHECKS: tuple[Check, ...] = (
    gives_finite_vectors,
    is_deterministic,
    looks_at_each_image_alone,
    has_the_heads_that_it_says,
    has_the_patches_that_it_says,
    names_its_weights,
)
