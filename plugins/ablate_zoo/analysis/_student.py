"""Student's t of differences with known variances and degrees of freedom: p and intervals."""

from __future__ import annotations

import numpy as np

from ablate.api import Compared
from ablate_zoo.analysis._spread import Floats
from ablate_zoo.analysis._two_way import TwoWay


def student(fit: TwoWay, variance: Floats, df: Floats, null: float) -> Compared:
    """Return the t-tests that differences, (b, m), are `null`, of variances with df degrees of freedom.

    Where all residuals are rounding, nothing is known of the deviation: p is that of equal signs, 2/2ⁿ, and the
    interval a point. p is 1 where no degree of freedom is left.
    """
    from scipy.special import stdtr, stdtrit

    known = np.isfinite(fit.difference)
    counted = np.where(fit.exact, fit.shared - 1, df)  # without residuals nothing weighs one deviation against another
    freedom = np.where((counted > 0) & known, counted, np.nan)
    error = np.where(freedom > 0, np.sqrt(np.where(fit.exact, 0.0, variance)), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stdtr(freedom, -np.abs(fit.difference - null) / error)
    signs = np.where(fit.difference == null, 1.0, 2.0 ** (1 - fit.shared))
    p = np.where(fit.exact, signs, np.where(np.isfinite(p), p, 1.0))

    def critical(level: float) -> Floats:
        return np.asarray(stdtrit(freedom, 1 - level / 2))

    return Compared(fit.difference, error, np.where(known, p, np.nan), critical)
