"""Scaling laws: quality as a power law of the network's cost, over candidates of different sizes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.names import show
from ablate.errors import InputError
from ablate.results.candidates import CandidateRow
from ablate.results.powerlaw import PowerLaw, fit
from ablate.results.robustlaw import bootstrap, leave_one_out, robust

FEWEST = 4  # points under which a line through them says nothing
SPAN = 2.0  # the largest cost over the smallest, at the least


@dataclass(frozen=True)
class Scaling:
    """A scaling law: the correlation of log cost with quality, and quality ≈ factor · cost^exponent + floor.

    `robust`, `bootstrap` and `leave_one_out` say how much the exponent stands on single sizes.

    The law is least squares in the logarithm of quality, with a floor of 0 or more: what no size takes away
    (the solver's error, the metric's bias) would otherwise flatten the exponent. `low` and `high` bound the
    exponent over all floors (95 %, profile likelihood); an end is infinite where the points do not
    bound it. Its fields are NaN where a value is not positive, as an unbiased KID near 0 may be, and the
    exponent is where the points show no more than a step.
    """

    points: pd.DataFrame  # label, cost, quality
    n: int
    correlation: float  # Pearson's, of log cost with quality
    correlation_low: float  # its 95 % interval (Fisher's z)
    correlation_high: float
    p: float  # two-sided, of no correlation
    exponent: float
    low: float
    high: float
    factor: float
    floor: float = 0.0
    floor_told: bool = False  # whether the points tell the floor from none

    @cached_property
    def robust(self) -> PowerLaw:
        """The law by Huber's loss, which single sizes do not pull away: `robustlaw.robust`; NaN without one."""
        if math.isnan(self.low):
            return PowerLaw(math.nan, math.nan, math.nan, math.nan, math.nan, False)
        x, y = self._xy
        return robust(x, y, PowerLaw(self.exponent, self.low, self.high, self.factor, self.floor, self.floor_told))

    @cached_property
    def bootstrap(self) -> tuple[float, float]:
        """The 95 % interval of the robust exponent over sizes drawn with replacement (a second); NaN without a law."""
        return (math.nan, math.nan) if math.isnan(self.low) else bootstrap(*self._xy)

    @cached_property
    def leave_one_out(self) -> pd.DataFrame:
        """The law without each size in turn, and how it predicts that one: see `ablate.results.robustlaw`."""
        return leave_one_out(self.points if not math.isnan(self.low) else self.points.iloc[:0])

    @property
    def _xy(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.points["cost"].to_numpy(dtype=float), self.points["quality"].to_numpy(dtype=float)

    def law(self, cost: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fitted quality at these costs; NaN without a law."""
        return self.factor * np.asarray(cost, dtype=float) ** self.exponent + self.floor

    def __str__(self) -> str:
        interval = f"({self.correlation_low:.2f} to {self.correlation_high:.2f})"
        text = f"correlation of log Gflops with quality {self.correlation:.3f} {interval} over {self.n} points"
        if math.isnan(self.low):
            return text
        if math.isnan(self.exponent):
            return f"{text}; they show no power law"
        bounds = f"{_end(self.low)}, {_end(self.high)}"
        floor = f"above a floor of {self.floor:.3g}"
        if not self.floor_told:
            floor += ", which the points cannot tell from none"
        exponents = self.leave_one_out["exponent"].dropna()
        without = ""
        if len(exponents):
            without = f"; without one of the sizes {exponents.min():.3g} to {exponents.max():.3g}"
        return f"{text}, exponent {self.exponent:.3g} [{bounds}] {floor}{without}"


def scaling(labels: pd.Series[str], cost: pd.Series[float], quality: pd.Series[float]) -> Scaling:
    """Fit a scaling law over points with finite values and a positive cost.

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
    x, y = points["cost"].to_numpy(), points["quality"].to_numpy()
    correlation = stats.pearsonr(np.log(x), y)
    interval = correlation.confidence_interval(0.95)
    r_and_p = (float(correlation.statistic), float(interval.low), float(interval.high), float(correlation.pvalue))
    if not (y > 0).all():
        return Scaling(points, len(points), *r_and_p, math.nan, math.nan, math.nan, math.nan, math.nan)
    law = fit(x, y)
    return Scaling(
        points, len(points), *r_and_p, law.exponent, law.low, law.high, law.factor, law.floor, law.floor_told
    )


def not_of_size(candidates: Sequence[CandidateRow], costs: Mapping[str, tuple[float, float]]) -> str:
    """Say in what candidates differ beside the size of one network, which rules out a scaling law; '' if in nothing.

    A size is a number among the network's own fields, which makes it larger: two candidates that cost the same
    (costs: {config_hash: (Gflops, parameters)}) differ in something else.
    """
    paths = list(dict.fromkeys(path for c in candidates for path in c.choices))
    for path in paths:
        labels = {show(c.choices[path]) if path in c.choices else "" for c in candidates}
        if len(labels) > 1 and not _is_size(path, [c.choices.get(path) for c in candidates]):
            listed = sorted(label for label in labels if label)
            more = ", …" if len(listed) > 3 else ""
            return f"{path} varies too ({', '.join(listed[:3])}{more})"
    label_of: dict[tuple[float, float], str] = {}
    for candidate in candidates:
        cost = costs.get(candidate.config_hash)
        if cost is not None and cost in label_of:
            return f"{label_of[cost]} and {candidate.label} are of one size"
        if cost is not None and all(map(math.isfinite, cost)):
            label_of[cost] = candidate.label
    return ""


def _is_size(path: str, values: Sequence[Any]) -> bool:
    """Return whether the choices at a path are numbers of the network, or networks that differ in numbers alone."""
    if path.partition(".")[0] != "backbone":
        return False
    specs = [_spec(value) for value in values]
    if all(spec is not None for spec in specs):
        words = [{key: value for key, value in (spec or {}).items() if not _numeric(value)} for spec in specs]
        return all(one == words[0] for one in words)
    return all(_numeric(value) for value in values)


def _spec(value: Any) -> dict[str, Any] | None:
    """Parse a choice that is a component with fields; None where it is none."""
    if not isinstance(value, str) or not value.startswith("{"):
        return None
    try:
        spec = json.loads(value)
    except ValueError:
        return None
    return spec if isinstance(spec, dict) else None


def _numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_numeric, value))
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool | np.bool_)
    return bool(number and math.isfinite(value))


def _end(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "−∞" if value < 0 else "∞"


def literature() -> Scaling:
    """Fit the twelve sizes of DiT at 400 thousand steps (Peebles & Xie 2023, table 4): correlation −0.930."""
    from ablate.results.published import published

    table = published()
    sizes = table[table["source"].eq("DiT Table 4") & table["train_steps_k"].eq(400) & table["block"].eq("adaln_zero")]
    return scaling(sizes["model"], sizes["gflops"], sizes["fid_50k"])
