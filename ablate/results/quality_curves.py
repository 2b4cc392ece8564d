"""Quality during training: measurements against images, training Gflops and seconds, and time to quality."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

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


class Curve(NamedTuple):
    """The points of one trial: compute, ascending, and as many values."""

    compute: list[float]
    value: list[float]


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
    points = metrics.groupby(keys, dropna=False, sort=False)["images"].transform("nunique")
    most = points.groupby([metrics["trial"], metrics["metric"]]).transform("max")
    rows = metrics[(points == most) & ((points > 1) | begun[metrics.index])]
    if rows.empty:
        return rows.assign(train_gflops=pd.Series(dtype=float))
    kind = rows.groupby(keys, dropna=False, sort=False).ngroup()
    rows = rows[kind == kind.groupby([rows["trial"], rows["metric"]]).transform("min")]
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
        table = points.pivot_table(index=["trial", "images"], columns="metric", values="value", sort=False)
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
    by_trial: dict[str, Curve] = {}
    points = (curves["trial"].tolist(), curves[of].astype(float).tolist(), curves["value"].astype(float).tolist())
    for trial, compute, at in zip(*points, strict=True):
        curve = by_trial.setdefault(trial, Curve([], []))
        curve.compute.append(compute)
        curve.value.append(at)
    names: dict[str, list[Any]] = {c.config_hash: [] for c in candidates}
    for config_hash, trial in zip(complete["config_hash"].tolist(), complete["trial"].tolist(), strict=True):
        if config_hash in names:
            names[config_hash].append(trial)
    if value is None:
        value = _reachable(names, candidates, by_trial, objective)
    ordered = [trial for own in names.values() for trial in own]
    times_of = [_time(by_trial[t], objective.sign, value) if t in by_trial else math.nan for t in ordered]
    ends = list(itertools.accumulate(map(len, names.values())))
    logs = dict(zip(names, np.split(np.log(times_of), ends[:-1]), strict=True)) if names else {}
    half_width = interval_half_widths(times for times in logs.values() if len(times) and np.isfinite(times).all())
    rows = []
    for candidate in candidates:
        times = logs[candidate.config_hash].tolist()
        reached = sum(map(math.isfinite, times))
        mean = times[0] if len(times) == 1 else float(np.mean(times)) if times and reached == len(times) else math.nan
        half = half_width(len(times))
        rows.append(
            {
                "time_to_quality": math.exp(mean),
                "low": math.exp(mean - half),
                "high": math.exp(mean + half),
                "reached": reached,
                "n": len(times),
            }
        )
    table = labelled(candidates).join(pd.DataFrame(rows))
    table = table.sort_values("time_to_quality", kind="stable").reset_index(drop=True)
    table.attrs = {"metric": objective.column, "value": value, "of": of, "samples": int(curves["samples"].iloc[0])}
    return table


def interval_half_widths(groups: Iterable[NDArray[np.float64]]) -> Callable[[int], float]:
    """Return a function from n to the half width of the 95 % interval of a mean over n seeds.

    groups: the values of each candidate over its seeds. Student's t, with one deviation for all candidates: two or
    three seeds alone say little about theirs. NaN where each has one seed.
    """
    groups = list(groups)
    free = sum(len(values) - 1 for values in groups)
    if not free:
        return lambda n: math.nan
    from scipy.special import stdtrit  # a tenth of a second, which one seed each need not wait for

    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in groups)
    scale = float(stdtrit(free, 0.975)) * math.sqrt(squares / free)
    return lambda n: scale / math.sqrt(n) if n else math.nan


def _reachable(
    names: dict[str, list[Any]],
    candidates: Sequence[CandidateRow],
    by_trial: dict[str, Curve],
    objective: Objective,
) -> float:
    """Return the value that every seed of the baseline reaches in the end; without one, that every trial reaches."""
    baseline = [trial for c in candidates if c.baseline for trial in names[c.config_hash] if trial in by_trial]
    ends = [by_trial[trial].value[-1] for trial in baseline or by_trial]
    return objective.sign * max(objective.sign * end for end in ends)


def _time(curve: Curve, sign: int, value: float) -> float:
    """Return the compute at which a curve first reaches a value; NaN where it does not.

    Between two points it is interpolated: the logarithm of compute is linear in the logarithm of the value, or in the
    value where one of the two is not positive. What the first point reaches is put there: it took no longer.
    """
    x, y = curve
    i = next((i for i, one in enumerate(y) if sign * one <= sign * value), None)
    if i is None or not all(map(math.isfinite, x)):
        return math.nan
    if i == 0 or x[i - 1] <= 0:
        return x[i]
    before, after, target = _scaled(np.array([y[i - 1], y[i], value])).tolist()
    share = (target - before) / (after - before) if after != before else 1.0
    return math.exp(math.log(x[i - 1]) + share * math.log(x[i] / x[i - 1]))


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(values) if (values > 0).all() else values
