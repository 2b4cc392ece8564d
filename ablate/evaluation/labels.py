"""The class labels of samples: distributed as those of the training images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shares(labels: NDArray[np.int64] | None, classes: int) -> NDArray[np.int64]:
    """Count the training images of each class, (classes,); one each where images are not labelled."""
    return np.ones(classes, np.int64) if labels is None else np.bincount(labels, minlength=classes)[:classes]


def sample_labels(counts: NDArray[np.int64], samples: int) -> NDArray[np.int64]:
    """Return the labels of the samples, (samples,): each class within one sample of its share, 0 without images.

    counts: (classes,) training images of each class. Fewer samples than classes are spread evenly over the
    distribution. Classes take turns, in order, so that any first part of the samples is spread as well.
    """
    total, upto = int(counts.sum()), np.cumsum(counts, dtype=np.int64)
    middles = (2 * np.arange(samples, dtype=np.int64) + 1) * total  # of `samples` equal parts, times 2·samples
    drawn = np.bincount(np.searchsorted(upto * 2 * samples, middles, side="right"), minlength=len(counts))
    most = int(drawn.max(initial=1))
    labels = np.repeat(np.arange(len(counts)), drawn)
    place = np.arange(samples) - np.repeat(np.cumsum(drawn) - drawn, drawn)  # among the samples of the same class
    turn = (2 * place + 1) * most // (2 * drawn[labels])
    return labels[np.lexsort([labels, turn])]
