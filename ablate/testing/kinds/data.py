"""Checks of data: two parts that never overlap, the same at every load."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from ablate.component import Setting
from ablate.errors import InputError
from ablate.kinds.data import Data, Dataset
from ablate.testing.case import Case, Check, NotApplicable

COPIES = 0.01  # share of the reference that may look like an image of the training part


def is_what_its_setting_says(case: Case) -> None:
    """uint8 (N, C, H, W) in both parts, of the shape and classes that `setting()` tells beforehand."""
    setting, data, _ = _loaded(case)
    assert data.classes == setting.classes, f"{data.classes} classes, setting() says {setting.classes}"
    for name, images in (("images", data.images), ("reference_images", data.reference_images)):
        assert images.dtype == np.uint8, f"{name} are {images.dtype}, not uint8"
        assert images.shape[1:] == setting.shape, f"{name} are {images.shape[1:]}, setting() says {setting.shape}"
        assert len(images) >= 2, f"there are {len(images)} {name}"


def is_labelled_as_it_says(case: Case) -> None:
    """int64 labels in [0, classes) for every image, with "labels"; none at all without it."""
    setting, data, _ = _loaded(case)
    labelled = "labels" in case.component.provides()
    assert labelled == (setting.classes is not None), (
        "provides 'labels', and setting() tells no classes, or the other way"
    )
    parts = ((data.labels, data.images), (data.reference_labels, data.reference_images))
    for labels, images in parts:
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
    )
    assert all(np.array_equal(one, other) for one, other in pairs if one is not None and other is not None)


def _loaded(case: Case) -> tuple[Setting, Dataset, Dataset]:
    part = case.component
    assert isinstance(part, Data)
    try:
        return _load(part)
    except InputError as error:
        raise NotApplicable(f"not to be had here: {error}") from None


@lru_cache(maxsize=2)
def _load(data: Data) -> tuple[Setting, Dataset, Dataset]:
    setting = data.setting()
    with tempfile.TemporaryDirectory() as cache:
        return setting, data.load(Path(cache)), data.load(Path(cache))


CHECKS: tuple[Check, ...] = (
    is_what_its_setting_says,
    is_labelled_as_it_says,
    keeps_its_parts_apart,
    loads_the_same_again,
)
