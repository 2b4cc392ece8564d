"""Checks of a condition: it tells of each image by itself what its spec says, the same for every candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.errors import InputError
from ablate.kinds.condition import Condition
from ablate.kinds.conditions import Told
from ablate.runtime.randomness import RandomStreams
from ablate.spec.inputs import ConditionSpec, Form, InputSpec
from ablate.testing.case import Case, Check, NotApplicable

COUNT, PART = 12, 5  # images, and images of a part of the batch
CPU = torch.device("cpu")
IMAGES = InputSpec((3, 8, 8), 3)
AXES: Mapping[str, tuple[int, ...]] = {"class": (0,), "text": (1, 2), "scalars": (1,), "image": (3,)}  # of one value
WORDS = ("one", "a grey cat", "naïve 日本", "two dogs on a beach, in the evening")
COLUMNS: Mapping[str, NDArray[Any]] = {
    "class": np.array(["cat", "dog", "one"] * 4),
    "file": np.array([f"{i}.png" for i in range(COUNT)], dtype=object),
    "caption": np.array([f"{WORDS[i % 4]} {i}" for i in range(COUNT)], dtype=object),
    "width": np.arange(64.0, 64 + COUNT),
    "height": np.arange(48.0, 48 + 2 * COUNT, 2),
    "crop_top": np.arange(COUNT) % 3.0,
    "crop_left": np.arange(COUNT) % 5.0,
}


def tells_what_its_spec_says(case: Case) -> None:
    """`spec_of` says what `tell` gives: shape and type of each value, numbers below `count`, a mask for text alone.

    It is called `record_name`. The images are not changed.
    """
    for part, spec in _variants(case):
        assert spec.name == part.record_name, f"{part!r}: called {spec.name!r}, its record_name is {part.record_name!r}"
        assert spec.form in get_args(Form) and len(spec.shape) in AXES[spec.form], f"{part!r}: {spec}"
        x0 = _images()
        told = _told(part, x0)
        numbered = spec.count is not None
        dtype = torch.int64 if numbered else torch.float32
        assert told.value.shape == (COUNT, *spec.shape) and told.value.dtype == dtype, (
            f"{part!r}: {told.value.dtype} {tuple(told.value.shape)} of {COUNT} images; it says {dtype} {spec.shape}"
        )
        assert told.value.isfinite().all(), f"{part!r}: tells numbers that are not finite"
        assert not numbered or 0 <= int(told.value.min()) <= int(told.value.max()) < (spec.count or 0), (
            f"{part!r}: numbers from {told.value.min()} to {told.value.max()}, of {spec.count}"
        )
        for name, flags, shape in (("present", told.present, (COUNT,)), ("mask", told.mask, (COUNT, *spec.shape[:1]))):
            good = flags is None or (flags.dtype == torch.bool and flags.shape == shape)
            assert good, f"{part!r}: {name} is not (B, ...) bool"
        assert (told.mask is not None) == (spec.form == "text"), f"{part!r}: a mask is for text, and for every text"
        assert torch.equal(x0, _images()), f"{part!r}: changes the images that it is given"


def tells_each_image_by_itself(case: Case) -> None:
    """What is told of an image follows from its number: the same again, and in whatever batch it comes."""
    for part, _ in _variants(case):
        x0 = _images()
        whole, again = _told(part, x0), _told(part, x0)
        assert _same(whole, again), f"{part!r}: tells something else each time; draw by `uniform`"
        for first in range(0, COUNT, PART):
            cut = slice(first, first + PART)
            assert _same(whole.rows(cut), _told(part, x0[cut], first)), (
                f"{part!r}: the rest of the batch decides what is told of an image"
            )


def stores_of_each_image_what_its_columns_say(case: Case) -> None:
    """`store` gives a row an image, of that image's columns alone: so training and reference mean the same."""
    for part, _ in _variants(case):
        stored = part.store(COLUMNS)
        if stored is None:
            continue
        assert stored.shape[:1] == (COUNT,) and stored.dtype.kind in "biuf", (
            f"{part!r}: stores {stored.dtype} {stored.shape} of {COUNT} images, not a row of numbers each"
        )
        for i in range(COUNT):
            alone = part.store({name: values[i : i + 1] for name, values in COLUMNS.items()})
            assert alone is not None and np.array_equal(alone[0], stored[i]), (
                f"{part!r}: what is stored of an image depends on the others: the reference would mean something else"
            )


def excludes_latents_where_it_reads_the_image(case: Case) -> None:
    """It says "latents" in `excludes()` where it tells something of the pixels: samples are told of pictures."""
    for part, _ in _variants(case):
        if "latents" in part.excludes():
            continue
        told = _told(part, _images().to("meta"))
        assert not told.value.is_meta and _same(told, _told(part, -_images())), (
            f"{part!r}: reads the image; say 'latents' in excludes()"
        )


def _variants(case: Case) -> Iterator[tuple[Condition, ConditionSpec]]:
    """Yield the component and its switches turned, for images with the columns that data usually have."""
    refusals, count = [], 0
    for part in case.variants(numbers=True):
        assert isinstance(part, Condition)
        try:
            spec = part.spec_of(IMAGES, {name: float if v.dtype.kind == "f" else str for name, v in COLUMNS.items()})
        except InputError as error:
            refusals.append(error.message)
            continue
        count += 1
        yield part, spec
    if not count:
        raise NotApplicable(f"it refuses the data of the checks: {refusals[0]}")


def _images() -> Tensor:
    return torch.rand(COUNT, *IMAGES.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _told(part: Condition, x0: Tensor, first: int = 0) -> Told:
    """Return what is told of the images number first and on."""
    draws, stored = RandomStreams(0, CPU), part.store(COLUMNS)
    kept = None if stored is None else torch.from_numpy(stored[first : first + len(x0)])
    return part.tell(kept, x0, lambda stream: draws.uniform(stream, first, len(x0)))


def _same(one: Told, other: Told) -> bool:
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in zip(one, other, strict=True))


CHECKS: tuple[Check, ...] = (
    tells_what_its_spec_says,
    tells_each_image_by_itself,
    stores_of_each_image_what_its_columns_say,
    excludes_latents_where_it_reads_the_image,
)
