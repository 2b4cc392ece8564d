"""Checks of data: two parts that never overlap, the same at every load."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ablate.errors import InputError
from ablate.kinds.data import Data, Dataset
from ablate.runtime.randomness import RandomStreams
from ablate.spec.component import InputSpec
from ablate.testing.case import Case, Check, NotApplicable
from ablate.training.images import RESIDENT, Images

COPIES = 0.01  # share of the reference that may look like an image of the training part


def is_what_its_setting_says(case: Case) -> None:
    """What is trained on has the shape and classes that `setting()` tells beforehand; pixels are uint8 (N, C, H, W).

    Latents, which carry an encoding, are finite floats; their reference is pixels.
    """
    setting, data, _ = _loaded(case)
    latent = data.encoding is not None
    assert data.classes == setting.classes, f"{data.classes} classes, setting() says {setting.classes}"
    assert data.shape == setting.shape, f"images are {data.shape}, setting() says {setting.shape}"
    assert latent == ("latents" in case.component.provides()), "an encoding and the capability 'latents' go together"
    for name, images in (("images", data.images), ("reference_images", data.reference_images)):
        assert len(images) >= 2, f"there are {len(images)} {name}"
        if latent and name == "images":
            assert images.dtype in (np.float16, np.float32), f"latents are {images.dtype}, not fp16 or fp32"
            assert np.isfinite(images).all(), "there are latents that are not finite"
        else:
            assert images.dtype == np.uint8 and images.ndim == 4, f"{name} are {images.dtype} {images.shape}"
    if not latent:
        shape = data.reference_images.shape[1:]
        assert shape == setting.shape, f"reference_images are {shape}, setting() says {setting.shape}"


def learns_what_it_says(case: Case) -> None:
    """A learner draws fp32 batches (B, C, H, W) of it, finite, the same for the same draws; pixels lie in [-1, 1]."""
    setting, data, _ = _loaded(case)
    device = torch.device("cpu")
    index = torch.arange(min(16, len(data.images)))
    draws = [Images(data, device, resident).take(index, RandomStreams(0, device), 3) for resident in (0, RESIDENT)]
    assert draws[0].shape == (len(index), *setting.shape) and draws[0].dtype == torch.float32
    assert draws[0].isfinite().all()
    assert torch.equal(*draws), "what is drawn depends on where the images are held"
    assert data.encoding is not None or draws[0].abs().max() <= 1


def is_labelled_as_it_says(case: Case) -> None:
    """int64 labels in [0, classes) for every image, with "labels"; none at all without it."""
    setting, data, _ = _loaded(case)
    labelled = "labels" in case.component.provides()
    has_labelled_reference = data.encoding is None  # the reference of latents may lie elsewhere, without labels
    assert labelled == (setting.classes is not None), (
        "provides 'labels', and setting() tells no classes, or the other way"
    )
    parts = ((data.labels, data.images), (data.reference_labels, data.reference_images))
    for labels, images in parts if has_labelled_reference else parts[:1]:
        assert (labels is not None) == labelled, "labels and the capability 'labels' contradict each other"
        if labels is not None and setting.classes is not None:
            assert labels.dtype == np.int64 and labels.shape == images.shape[:1], (
                f"labels are {labels.dtype} {labels.shape}"
            )
            assert 0 <= labels.min() <= labels.max() < setting.classes, f"labels from {labels.min()} to {labels.max()}"


def keeps_its_parts_apart(case: Case) -> None:
    """No image of the reference is trained on; 1 % may look alike, as real data hold copies."""
    _, data, _ = _loaded(case)
    trained = {image.tobytes() for image in data.images}
    shared = sum(image.tobytes() in trained for image in data.reference_images) / len(data.reference_images)
    assert shared <= COPIES, f"{shared:.1%} of the reference images are also trained on"


def loads_the_same_again(case: Case) -> None:
    """A second load, from the cache, gives the same images in the same order, and the same hash."""
    _, first, again = _loaded(case)
    assert first.hash == again.hash, f"hash {first.hash[:12]}, then {again.hash[:12]}"
    pairs = (
        (first.images, again.images),
        (first.labels, again.labels),
        (first.reference_images, again.reference_images),
        (first.reference_labels, again.reference_labels),
        (first.mirrored, again.mirrored),
    )
    facts = [(one.classes, one.flip, one.encoding) for one in (first, again)]
    assert facts[0] == facts[1], f"{facts[0]}, then {facts[1]}"
    assert all(np.array_equal(one, other) for one, other in pairs if one is not None and other is not None)


def _loaded(case: Case) -> tuple[InputSpec, Dataset, Dataset]:
    part = case.component
    assert isinstance(part, Data)
    try:
        return _load(part)
    except InputError as error:
        raise NotApplicable(f"not to be had here: {error}") from None


@lru_cache(maxsize=2)
def _load(data: Data) -> tuple[InputSpec, Dataset, Dataset]:
    setting = data.setting()
    with tempfile.TemporaryDirectory() as cache:  # a memory map outlives its file
        return setting, data.load(Path(cache)), data.load(Path(cache))


CHECKS: tuple[Check, ...] = (
    is_what_its_setting_says,
    learns_what_it_says,
    is_labelled_as_it_says,
    keeps_its_parts_apart,
    loads_the_same_again,
)
