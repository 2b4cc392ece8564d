"""metric `memorisation`: whether samples are copies of the images that were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ablate.api import Measurement, TrainingMetric
from ablate_zoo.metric._neighbours import ROUNDING, nearest
from ablate_zoo.metric._vectors import checked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Memorisation(TrainingMetric):
    """Two values from 0 to 1, `authenticity` and `data_copying`; both are low where a network repeats its training set.

    authenticity: the share of samples that are farther from their nearest training image than that image is from its
    nearest other one (Alaa et al. 2022, sec. 4.2; AuthPct of Stein et al. 2023).

    data_copying: how probably a sample is farther from its nearest training image than an image of the reference, which
    was held out, is from its own: the statistic of Mann and Whitney over the product of the numbers (Meehan et al.
    2020, sec. 3, there standardised and by regions). 0.5: samples are as near as images that nobody trained on; 0: all
    are nearer. Samples that are blurred or all alike may be near or far for that reason: read it beside the quality.
    """

    name = "memorisation"
    larger_is_better: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("authenticity", "data_copying")

    def compare(self, generated: ArrayLike, reference: ArrayLike, training: ArrayLike) -> Mapping[str, Measurement]:
        """(N, D), (M, D) and (K, D) features -> both values; in blocks, so memory is of the order of (N + M + K)·D.

        The error of data_copying is that of two sets that do not differ.
        """
        x, fixed = checked(self.name, generated, training, self.least)
        y, _ = checked(self.name, reference, training, self.least)
        table = fixed.values
        mean = table.mean(0)  # near 0 a difference of squares loses the fewest digits
        table, x, y = table - mean, x - mean, y - mean
        from_training, which = nearest(x, table)
        rounding = ROUNDING * float(np.square(table).sum(1).mean())
        used, back = np.unique(which, return_inverse=True)
        own, _ = nearest(table[used], table, itself=used)
        authentic = float((from_training - own[back] > rounding).mean())
        held_out, _ = nearest(y, table)
        low, high = (np.searchsorted(np.sort(held_out), from_training, side) for side in ("left", "right"))
        n, m = len(x), len(y)
        return {
            "authenticity": Measurement(authentic, float(np.sqrt(authentic * (1 - authentic) / n))),
            "data_copying": Measurement(
                float((low + high).mean() / (2 * m)), float(np.sqrt((n + m + 1) / (12 * n * m)))
            ),
        }
