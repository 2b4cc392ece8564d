"""Scaling: how quality follows the cost of the network over candidates of different sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.errors import InputError

FEWEST = 4  # points under which a line through them says nothing
SPAN = 2.0  # the largest cost over the smallest, at the least


@dataclass(frozen=True)
class Scaling:
    """A line through log cost and quality, and a power law, quality ≈ factor · cost^exponent.

    The law is least squares in the logarithm of both; its fields are NaN where a value is not
    positive, as an unbiased KID near 0 may be. `low` and `high` bound the exponent (95 %, Student's t).
    """

    points: pd.DataFrame  # label, cost, quality
    n: int
    correlation: float  # Pearson's, of log cost with quality
    p: float  # two-sided, of no correlation
    exponent: float
    low: float
    high: float
    factor: float

    def __str__(self) -> str:
        law = "" if math.isnan(self.exponent) else f", exponent {self.exponent:.3g} [{self.low:.3g}, {self.high:.3g}]"
        return f"correlation of log Gflops with quality {self.correlation:.3f} over {self.n} points{law}"


def scaling(labels: pd.Series[str], cost: pd.Series[float], quality: pd.Series[float]) -> Scaling:
    """The fit over points with finite values and a positive cost.

    Raises InputError for fewer than 4 points, or where the largest cost is not twice the smallest.
    """
    from scipy import stats

    points = pd.DataFrame({"label": labels, "cost": cost.astype(float), "quality": quality.astype(float)})
    usable = np.isfinite(points["cost"]) & np.isfinite(points["quality"]) & points["cost"].gt(0)
    points = points[usable].reset_index(drop=True)
    if len(points) < FEWEST or points["cost"].max() < SPAN * points["cost"].min():
        span = points["cost"].max() / points["cost"].min() if len(points) else math.nan
        raise InputError(
            f"a scaling fit needs at least {FEWEST} candidates whose costs span a factor of {SPAN:g}; "
            f"there are {len(points)}, over a factor of {span:.3g}"
        )
    x = np.log(points["cost"].to_numpy())
    correlation = stats.pearsonr(x, points["quality"].to_numpy())
    exponent = low = high = factor = math.nan
    if (points["quality"] > 0).all():
        law = stats.linregress(x, np.log(points["quality"].to_numpy()))
        margin = float(stats.t.ppf(0.975, len(points) - 2) * law.stderr)
        exponent, factor = float(law.slope), math.exp(law.intercept)
        low, high = exponent - margin, exponent + margin
    found = float(correlation.statistic), float(correlation.pvalue)
    return Scaling(points, len(points), *found, exponent, low, high, factor)


def literature() -> Scaling:
    """The same of the twelve sizes of DiT at 400 thousand steps (Peebles & Xie 2023, table 4): correlation −0.930."""
    from ablate.results.published import published

    table = published()
    sizes = table[table["source"].eq("DiT Table 4") & table["train_steps_k"].eq(400) & table["block"].eq("adaln_zero")]
    return scaling(sizes["model"], sizes["gflops"], sizes["fid_50k"])
