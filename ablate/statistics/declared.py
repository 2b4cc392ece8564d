"""The analysis that a study declares before it runs: the test on which its verdict stands, its level, its margin."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ablate.kinds.analysis import Analysis
from ablate.spec.component import Config, slot


class AnalysisPlan(Config):
    """How the study's candidates are compared: its statistical analysis plan, frozen with the first launch.

    The verdict uses this test alone. `spread` only serves `ablate plan`.
    """

    @classmethod
    def _title(cls) -> str:
        return "analysis"

    test: Analysis = slot()
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05  # chance of any wrong claim, over all comparisons and looks
    delta: Annotated[float | None, Field(gt=0, le=1e12)] = (
        None  # smaller differences are of no weight: equivalence within ±delta; with scale log a share, 0.1 for 10 %
    )
    scale: Literal["plain", "log"] = "plain"  # log: ratios of values, which all have to be above 0
    most_seeds: Annotated[int | None, Field(ge=2, le=10_000)] = (
        None  # seeds of a candidate that there will be at the most; none: more may be added, at a fifth of alpha
    )
    spread: Annotated[float | None, Field(gt=0, le=1e12)] = (
        None  # expected deviation of a value from candidate and seed, on the scale; none: that of an earlier run
    )
