"""How sure a number is: what seeds, pairing and the samples of a metric each do to it, and what is worth paying for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ablate.candidates.objectives import Objective
from ablate.errors import Argument, InputError
from ablate.results.candidates import CandidateRow
from ablate.results.frames import last_rows
from ablate.results.outcomes import outcomes_of

SAMPLES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # of those that the study drew


@dataclass(frozen=True)
class Spread:
    """Deviations of one value of a metric in a study, in the metric's unit, or of its logarithm on the log scale."""

    metric: str
    scale: str
    seeds: float  # over the seeds of one candidate, from all candidates together
    paired: float  # about candidate and seed: what is left when candidates are compared seed by seed
    sampling: float  # standard error of one value from its samples, root mean square; NaN where the metric gives none
    df: int  # degrees of freedom of `paired`
    samples: int | None  # that each value was measured on; None where they differ, or are not known
    residuals: tuple[float, ...]  # about candidate and seed, scaled so that their deviation is `paired`

    @property
    def training(self) -> float:
        """What is left of the seeds' deviation without the sampling error: of training itself; at least 0."""
        return math.sqrt(max(self.seeds**2 - self.sampling**2, 0.0)) if math.isfinite(self.sampling) else math.nan

    @property
    def sampling_share(self) -> float:
        """The share of the variance over seeds that the sampling error explains, in [0, 1]; 0 where it is not known."""
        if not math.isfinite(self.sampling) or not self.seeds:
            return 0.0
        return min(self.sampling**2 / self.seeds**2, 1.0)


def spread(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[CandidateRow],
    objective: Objective,
    scale: str = "plain",
    where: Mapping[str, Any] | None = None,
) -> Spread:
    """Estimate the deviations of a study's values over its seeds, and their parts (Bouthillier et al. 2021).

    Candidates of which a run diverged are left out. Raises InputError where no two candidates have two seeds in common.
    """
    found = outcomes_of(trials, metrics, candidates, objective, scale, where)
    values = np.where(found.there, found.values, np.nan)[~found.diverged.any(axis=1)]
    values = values[(np.isfinite(values).sum(axis=1) > 1)]
    shared = np.isfinite(values).all(axis=0)
    whole = values[:, shared]
    if whole.shape[0] < 2 or whole.shape[1] < 2:
        raise InputError(f"no two candidates have {objective.column} of the same two seeds: nothing tells the spread")
    own = values - np.nanmean(values, axis=1, keepdims=True)
    freedom = int(np.isfinite(values).sum() - len(values))
    residuals = whole - whole.mean(axis=1, keepdims=True) - whole.mean(axis=0) + whole.mean()
    df = (whole.shape[0] - 1) * (whole.shape[1] - 1)
    scaled = residuals * math.sqrt(residuals.size / df)
    rows = last_rows(metrics[metrics["metric"] == objective.column])
    return Spread(
        metric=objective.column,
        scale=scale,
        seeds=math.sqrt(float(np.nansum(own**2)) / freedom),
        paired=math.sqrt(float((residuals**2).sum()) / df),
        sampling=_sampling(rows, scale),
        df=df,
        samples=int(rows["samples"].iloc[0]) if rows["samples"].nunique() == 1 else None,
        residuals=tuple(scaled.ravel().tolist()),
    )


def _sampling(rows: pd.DataFrame, scale: str) -> float:
    if "error" not in rows or rows["error"].isna().all():
        return math.nan
    errors = rows["error"].to_numpy(dtype=float)
    if scale == "log":
        errors = errors / np.abs(rows["value"].to_numpy(dtype=float))
    return float(np.sqrt(np.nanmean(errors**2)))


def allocation(found: Spread, training: float, evaluation: float, seconds: float, candidates: int) -> pd.DataFrame:
    """Return what so many seconds of work buy: a row for each number of samples, with the seeds that are left to pay.

    training, evaluation: mean seconds of one trial. Columns: samples, seeds (of each candidate, as many as the
    seconds pay), seconds (of all trials), error (standard error of the difference of two candidates), best. The
    sampling variance falls as 1/samples, what training does to a value does not; pairing is taken to cancel the same
    share of both.

    Raises InputError where the metric gives no error, since then what samples are worth is not known.
    """
    if not math.isfinite(found.sampling) or found.samples is None:
        why = (
            "was measured on several numbers of samples"
            if math.isfinite(found.sampling)
            else "tells no error of its own"
        )
        raise InputError(f"{found.metric} {why}, so what samples are worth is not known", "metric")
    if not seconds > 0:
        raise InputError(f"expected seconds of work, not {seconds!r}", Argument("seconds"))
    share = found.sampling_share
    rows = []
    for times in SAMPLES:
        one = training + times * evaluation
        seeds = int(seconds / (candidates * one))
        variance = 2 * found.paired**2 * (share / times + 1 - share)
        error = math.sqrt(variance / seeds) if seeds else math.inf
        rows.append(
            {
                "samples": round(times * found.samples),
                "seeds": seeds,
                "seconds": seeds * candidates * one,
                "error": error,
            }
        )
    table = pd.DataFrame(rows)
    table["best"] = table["error"] == table["error"].min()
    return table
