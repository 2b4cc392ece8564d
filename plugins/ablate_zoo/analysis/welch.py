"""analysis `welch`: each comparison by the deviations of its own two candidates, whatever the others' are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ablate.api import Analysis, Compared
from ablate_zoo.analysis._student import student
from ablate_zoo.analysis._two_way import fit
from ablate_zoo.analysis._words import missing_words, pairing_words


class WelchTest(Analysis):
    """Student's t with a deviation for each candidate, and Satterthwaite's degrees of freedom (Welch 1947).

    Paired: the deviations are those about candidate and seed (Grubbs 1948), which the other candidates help to tell
    apart. For candidates that may differ in how noisy they are. It needs more seeds than `two_way`: with three it
    finds about half as much. Of two candidates alone it is the paired t-test.
    """

    name = "welch"
    called: ClassVar[str] = "t-test with each candidate's own spread (Welch)"
    borrows = True

    def compare(self, values: NDArray[np.float64], pairs: NDArray[np.int64], null: float = 0.0) -> Compared:
        """(b, k, n) values and (m, 2) pairs -> differences, errors and p, (b, m)."""
        model = fit(values, pairs)
        return student(model, model.own, model.own_df, null)

    def assumptions(self, values: NDArray[np.float64], names: Sequence[str]) -> tuple[str, ...]:
        """Say what pairing gains, and what is done about missing runs."""
        return (*missing_words(values), *pairing_words(values))
