"""analysis `permutation`: the exact paired permutation test, which assumes no shape of the values."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ablate.api import Analysis, Compared, paired_permutation


class PermutationTest(Analysis):
    """The paired permutation test of the mean difference: sign flips, all of them up to 16 pairs (Fisher 1935).

    Exact wherever a difference between equals is as likely to be positive as negative, whatever its distribution. n
    pairs give no p below 2/2ⁿ: with three comparisons it takes 7 seeds before Holm's correction leaves anything below
    0.05, with eleven 9. Its intervals are Student's t of the paired differences.
    """

    name = "permutation"
    called: ClassVar[str] = "paired permutation test"

    def compare(self, values: NDArray[np.float64], pairs: NDArray[np.int64], null: float = 0.0) -> Compared:
        """(b, k, n) values and (m, 2) pairs -> differences, errors and p, (b, m), over the seeds that both have."""
        return paired_permutation(values, pairs, null)

    def smallest_p(self, seeds: int) -> float:
        """2/2ⁿ: only the observed signs, and their opposite, are as far from 0."""
        return float(2.0 ** (1 - seeds))
