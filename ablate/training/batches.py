"""The batches of a training: images with noise, and what the network is told of them, drawn by the number of an image.

What is drawn for an image follows from its number in the training, not from the batch it comes in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ablate.candidates.candidate import Candidate
from ablate.kinds.augmentation import Uniform
from ablate.kinds.conditions import CLASS, Conditions, Labels, Told, dropped, rows
from ablate.kinds.noised import Noised, Origin
from ablate.kinds.process import Process
from ablate.runtime.randomness import RandomStreams
from ablate.spec.component import InputSpec

if TYPE_CHECKING:
    from ablate.training.images import Images


def draw_batch(
    candidate: Candidate, setting: InputSpec, data: Images, process: Process, draws: RandomStreams, first: int
) -> tuple[Noised, Labels]:
    """Draw the batch that begins with the training's image `first`: noisy images, and labels or conditions.

    Of the latter some are dropped (label dropout).
    """
    size = candidate.batch
    index = draws.order(first, size, len(data))
    mirrored = data.mirrors(draws, first, size)
    x0 = data.pick(index, mirrored, draws, first)
    altered = candidate.augmentation.apply(x0, lambda s: draws.uniform(f"augmentation/{s}", first, size))
    if altered.mirrored is not None:
        mirrored = altered.mirrored if mirrored is None else mirrored ^ altered.mirrored
    uniform = draws.uniform("levels", first, size, torch.float64)
    level = process.level(candidate.levels.draw(uniform, candidate.schedule))
    noise = draws.normal("noise", first, x0.shape)
    classes = None if data.labels is None else data.labels[index]
    order = candidate.coupling.order(altered.images, noise, classes)
    noise = noise if order is None else noise[order]
    told = told_of(setting, data, index, altered.images, lambda s: draws.uniform(s, first, size), altered.told)
    labels = _dropped(candidate, setting, told, draws, first)
    noised = process.diffuse(altered.images, noise, level)
    return noised._replace(origin=Origin(first, index, mirrored)), labels


def told_of(
    setting: InputSpec,
    data: Images,
    index: Tensor,
    x0: Tensor,
    uniform: Uniform,
    further: Mapping[str, Tensor] | None = None,
) -> Labels:
    """Return what the network is told of training images, with nothing dropped: labels, or a record of conditions.

    x0: the images after augmentation, `further` what that tells. uniform: draws for them, by the name of a stream.
    """
    classes = None if data.labels is None else data.labels[index]
    if not setting.conditions:
        return classes
    told = data.told(index, x0, uniform)
    for spec in setting.conditions:
        if further and spec.name in further:
            told = told.tell(spec.name, Told(further[spec.name]), spec.held)
    return told if classes is None else told.tell(CLASS, Told(classes))


def _dropped(candidate: Candidate, setting: InputSpec, labels: Labels, draws: RandomStreams, first: int) -> Labels:
    """Drop labels and conditions at random, as guidance wants it: all together, and each alone."""
    drops, null, size = candidate.drops(), setting.classes or 0, candidate.batch
    if labels is not None and drops.together > 0:
        which = draws.uniform("drop", first, size) < drops.together
        labels = dropped(labels, which, null, drops.names)
    if labels is not None and drops.each > 0:
        for name in drops.names or (labels if isinstance(labels, Conditions) else (CLASS,)):
            which = draws.uniform(f"drop/{name}", first, size) < drops.each
            labels = dropped(labels, which, null, [name])
    return labels


def split_batch(noised: Noised, labels: Labels, size: int) -> Iterator[tuple[Noised, Labels]]:
    """Split the batch into parts of at most `size` images."""
    total = len(noised.x)
    if size >= total:
        yield noised, labels
        return
    for begin in range(0, total, size):
        yield cut_batch(noised, labels, slice(begin, begin + size))


def cut_batch(noised: Noised, labels: Labels, cut: slice) -> tuple[Noised, Labels]:
    """Return some neighbouring images of a batch."""
    if cut == slice(0, len(noised.x)):
        return noised, labels
    level = type(noised.level)(*(value[cut] for value in noised.level))
    part = Noised(noised.x0[cut], noised.noise[cut], noised.x[cut], level, _origin(noised.origin, cut))
    return part, rows(labels, cut)


def _origin(origin: Origin | None, cut: slice) -> Origin | None:
    if origin is None:
        return None
    mirrored = None if origin.mirrored is None else origin.mirrored[cut]
    return Origin(origin.first + cut.start, origin.indices[cut], mirrored)
