"""analysis `two_way`: Student's t in the two-way model, value = candidate + seed, guarded against unequal spreads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ablate.api import Analysis, Compared
from ablate_zoo.analysis._student import student
from ablate_zoo.analysis._two_way import fit
from ablate_zoo.analysis._words import missing_words, pairing_words, spread_words


class TwoWayTest(Analysis):
    """Student's t in the two-way model: a value is its candidate's mean, plus what its seed does to all, plus error.

    The deviation of the error is estimated from all candidates together, with (k − 1)(n − 1) degrees of freedom, so
    that two or three seeds can decide. What seeds do to all candidates alike cancels (randomised complete blocks,
    Fisher 1935). Where seeds are missing it is the least-squares fit to those that there are.

    One deviation for all has to be true: with one candidate five times noisier than eleven others, a fifth of the
    studies of equals would name a difference. With `variance: checked` a candidate whose residuals are larger than
    all others' by an exact F-test (Russell & Bradley 1958; at the level `check`, corrected by Bonferroni) is left out
    of the common deviation, and its comparisons are answered by the deviations of the two alone, as `welch` does. Of
    the others the standard error is the larger of the common one and that of the two alone. `variance: pooled` is the
    plain model, as statsmodels fits it. How often either is wrong and what it finds is in benchmarks/verdicts.csv.
    """

    name = "two_way"
    default = True
    called: ClassVar[str] = "t-test in the two-way model (candidate + seed)"
    borrows = True

    variance: Literal["checked", "pooled"] = "checked"  # whether one deviation for all is tested before it is believed
    check: Annotated[float, Field(gt=0, lt=1)] = 0.002  # the level of that test

    def compare(self, values: NDArray[np.float64], pairs: NDArray[np.int64], null: float = 0.0) -> Compared:
        """(b, k, n) values and (m, 2) pairs -> differences, errors and p, (b, m)."""
        if self.variance == "pooled":
            model = fit(values, pairs)
            return student(model, model.pooled, np.broadcast_to(model.df, model.pooled.shape), null)
        model = fit(values, pairs, self.check)
        noisy = model.noisy(pairs)
        square = np.where(noisy, model.own, np.fmax(model.pooled, model.own))
        return student(model, square, np.where(noisy, model.own_df, model.df), null)

    def assumptions(self, values: NDArray[np.float64], names: Sequence[str]) -> tuple[str, ...]:
        """Say what pairing gains, what is done about missing runs, and whether one spread may be taken for all."""
        found = fit(values[None], np.zeros((1, 2), dtype=np.int64), self.check).common
        said = (*missing_words(values), *pairing_words(values), *spread_words(found, names, self.check))
        if not found.noisy.any():
            return said
        if self.variance == "pooled":
            return (*said, "all are answered by one deviation all the same (variance: pooled)")
        return (*said, "what is noisier is compared by its own spread (Welch), the others by their common one")
