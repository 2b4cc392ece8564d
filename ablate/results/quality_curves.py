"""Quality during training: measurements against images, training Gflops and seconds, and time to quality."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.objectives import TRAIN_PASS, TRAIN_PASSES, Objective
from ablate.errors import InputError
from ablate.results.candidates import CandidateRow, labelled
from ablate.results.frames import of_trials
from ablate.results.measurements import DECIDES, explain

Compute = Literal["images", "train_gflops", "train_seconds"]
COMPUTE: tuple[Compute, ...] = ("images", "train_gflops", "train_seconds")


class NoPointsError(InputError):
    """Raised where a metric was not measured during training."""


def quality_curves(trials: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `metrics` that were measured at several points of one training, with `train_gflops`.

    All points of a trial and metric were taken alike: where several kinds were (sample sizes, averages), it is the kind
    that has the most points, of equals the one that was recorded first. Ascending by images.
    """
    begun = of_trials(metrics, trials.loc[trials["state"] == "paused", "trial"])  # one point of these is a curve
    metrics = metrics[metrics.duplicated(["trial", "metric"], keep=False) | begun]  # none, as a rule: nothing to group
    keys = ["trial", "metric", *(name for name in DECIDES if name in metrics)]
    if metrics.empty:
        return metrics.assign(train_gflops=pd.Series(dtype=float))
    points = metrics.groupby(keys, dropna=False, sort=False, observed=True)["images"].transform("nunique")
    most = points.groupby([metrics["trial"], metrics["metric"]], observed=True).transform("max")
    rows = metrics[(points == most) & ((points > 1) | begun[metrics.index])]
    if rows.empty:
        return rows.assign(train_gflops=pd.Series(dtype=float))
    kind = rows.groupby(keys, dropna=False, sort=False, observed=True).ngroup()
    rows = rows[kind == kind.groupby([rows["trial"], rows["metric"]], observed=True).transform("min")]
    gflops = rows["trial"].map(_in_training(trials))
    rows = rows.assign(train_gflops=train_gflops(gflops, rows["images"]))
    return rows.sort_values(["trial", "metric", "images"], kind="stable").reset_index(drop=True)


def comparable_curves(
    trials: pd.DataFrame, metrics: pd.DataFrame, objective: Objective, states: Sequence[str] = ("complete",)
) -> pd.DataFrame:
    """Return the points of trials in these states at which a metric has a value; none where it was not measured so.

    Raises InputError where curves differ in what decides a value, and the study does not vary just that.
    """
    curves = quality_curves(trials, metrics[metrics["metric"] == objective.column])
    curves = curves[of_trials(curves, trials.loc[trials["state"].isin(states), "trial"])]
    finite: pd.DataFrame = curves[np.isfinite(curves["value"].to_numpy(dtype=float))]
    explain(objective, finite.drop_duplicates("trial"), trials)
    return finite


def train_gflops(gflops: pd.Series[Any], images: pd.Series[Any]) -> pd.Series[Any]:
    """Return the Gflops of training on so many images, forward and backward: 3 · Gflops · images."""
    return (TRAIN_PASSES * gflops.astype(float) * images.astype(float)).astype(float)


def _in_training(trials: pd.DataFrame) -> pd.Series[Any]:
    """Return the Gflops of a forward pass in training, by trial."""
    by_trial = trials.set_index("trial")
    gflops: pd.Series[Any] = by_trial["gflops"].astype(float)
    return by_trial[TRAIN_PASS].astype(float).fillna(gflops) if TRAIN_PASS in by_trial else gflops


def with_quality(curves: pd.DataFrame, trials: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Add to the training curves the column `train_gflops` and a column `m.<metric>` for quality during training.

    A point of quality that no logged point of training shares is a row of its own, without a loss.
    """
    points = quality_curves(trials, metrics)
    if len(points):
        table = points.pivot_table(
            index=["trial", "images"], columns="metric", values="value", sort=False, observed=True
        )
        seconds = points.drop_duplicates(["trial", "images"]).set_index(["trial", "images"])["train_seconds"]
        table = table.add_prefix("m.").rename_axis(columns=None).assign(reached=seconds).reset_index()
        curves = curves.merge(table, on=["trial", "images"], how="outer", sort=True)
        curves["seconds"] = curves["seconds"].fillna(curves.pop("reached"))
    gflops = curves["trial"].map(_in_training(trials))
    return curves.assign(train_gflops=train_gflops(gflops, curves["images"]))


def time_to_quality(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[CandidateRow],
    objective: Objective,
    value: float | None,
    of: Compute,
) -> pd.DataFrame:
    """Compute what each candidate takes to reach a value of a metric: its time to quality.

    See `StudyAnalysis.time_to_quality` for the columns. Raises NoPointsError where quality was not measured during
    training, and InputError as `comparable_curves` does, and for a cost that is none.
    """
    if of not in COMPUTE:
        raise InputError(f"expected one of {', '.join(COMPUTE)}, not {of!r}", "of")
    complete = trials[trials["state"] == "complete"]
    curves = comparable_curves(trials, metrics, objective)
    if curves.empty:
        message = f"{objective.column} was not measured during training: say when, evaluate.at: [0.1, 0.25, 0.5, 1.0]"
        raise NoPointsError(message, "metric")
    points = Points.of(curves, of)
    place = {c.config_hash: i for i, c in enumerate(candidates)}
    owner = np.array([place.get(name, -1) for name in complete["config_hash"].tolist()], dtype=int)
    at = {trial: i for i, trial in enumerate(points.trials)}
    curve = np.array([at.get(trial, -1) for trial in complete["trial"].tolist()], dtype=int)
    if value is None:
        own = curve[np.isin(owner, [i for i, c in enumerate(candidates) if c.baseline]) & (curve >= 0)]
        value = points.reached_by_all(objective.sign, own)
    logs = np.log(np.append(points.times(objective.sign, value), math.nan))[curve]  # of trials without a curve: NaN
    owner, logs, k = owner[owner >= 0], logs[owner >= 0], len(candidates)
    n, reached = np.bincount(owner, minlength=k), np.bincount(owner, np.isfinite(logs), minlength=k).astype(int)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(reached == n, np.bincount(owner, logs, minlength=k) / n, math.nan)  # 0 / 0 without a trial
    whole = np.isfinite(mean)
    squares = ((logs - mean[owner])[whole[owner]] ** 2).sum() if len(owner) else 0.0
    half_width = half_widths(float(squares), int((n[whole] - 1).sum()))
    half = np.array([half_width(int(count)) for count in range(n.max(initial=0) + 1)])[n]
    columns = {"time_to_quality": np.exp(mean), "low": np.exp(mean - half), "high": np.exp(mean + half)}
    table = labelled(candidates).join(pd.DataFrame({**columns, "reached": reached, "n": n}))
    table = table.sort_values("time_to_quality", kind="stable").reset_index(drop=True)
    table.attrs = {"metric": objective.column, "value": value, "of": of, "samples": int(curves["samples"].iloc[0])}
    return table


@dataclass(frozen=True)
class Points:
    """The points of k trials, one trial behind the other, each ascending by compute."""

    trials: list[str]  # (k)
    starts: NDArray[np.int64]  # (k,) the first point of each trial
    compute: NDArray[np.float64]  # (n,)
    value: NDArray[np.float64]  # (n,)

    @classmethod
    def of(cls, curves: pd.DataFrame, compute: Compute) -> Points:
        """Take them from rows that are sorted by trial, then by images."""
        codes, trials = pd.factorize(curves["trial"])
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        return cls(trials.tolist(), starts, *(curves[name].to_numpy(dtype=float) for name in (compute, "value")))

    def reached_by_all(self, sign: int, trials: NDArray[np.int64]) -> float:
        """Return the value that each of these trials reaches in the end; of none of them, that all reach."""
        last = self.value[np.append(self.starts[1:], len(self.value)) - 1]
        return float(sign * (sign * (last[trials] if len(trials) else last)).max())

    def times(self, sign: int, value: float) -> NDArray[np.float64]:
        """Return (k,) the compute at which each trial first reaches a value; NaN where it does not.

        Between two points it is interpolated: the logarithm of compute is linear in the logarithm of the value, or in
        the value where one of the two is not positive. What the first point reaches is put there: it took no longer.
        """
        n, x, y = len(self.value), self.compute, self.value
        places = np.where(sign * y <= sign * value, np.arange(n), n)
        first = np.minimum.reduceat(places, self.starts)  # of each trial; n or more where it does not reach it
        known = np.logical_and.reduceat(np.isfinite(x), self.starts) & (first < n)
        i = np.where(known, first, 0)
        j = np.maximum(i - 1, 0)
        between = (i > self.starts) & (x[j] > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            positive = (y[j] > 0) & (y[i] > 0) & (value > 0)
            before, after, target = (np.where(positive, np.log(v), v) for v in (y[j], y[i], np.float64(value)))
            share = np.where(after != before, (target - before) / (after - before), 1.0)
            interpolated = np.exp(np.log(x[j]) + share * np.log(x[i] / x[j]))
        return np.where(known, np.where(between, interpolated, x[i]), math.nan)


def interval_half_widths(groups: Iterable[NDArray[np.float64]]) -> Callable[[int], float]:
    """Return a function from n to the half width of the 95 % interval of a mean over n seeds.

    groups: the values of each candidate over its seeds. Student's t, with one deviation for all candidates: two or
    three seeds alone say little about theirs. NaN where each has one seed.
    """
    groups = list(groups)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in groups)
    return half_widths(squares, sum(len(values) - 1 for values in groups))


def half_widths(squares: float, free: int) -> Callable[[int], float]:
    """Return the same from the sum of squares about the candidates' own means, and its degrees of freedom."""
    if not free:
        return lambda n: math.nan
    from scipy.special import stdtrit  # a tenth of a second, which one seed each need not wait for

    scale = float(stdtrit(free, 0.975)) * math.sqrt(squares / free)
    return lambda n: scale / math.sqrt(n) if n else math.nan
