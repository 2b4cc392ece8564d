"""How far a study had come after how much training: the best so far, and the hypervolume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.objectives import TRAIN_PASS, TRAIN_PASSES
from ablate.errors import InputError
from ablate.results.front import hypervolume
from ablate.results.fronts.membership import contends

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

COLUMNS = ("candidate", "config_hash", "train_gflops", "share", "best", "hypervolume", "on_front")


def progress(
    results: StudyAnalysis,
    objectives: Sequence[str] | None = None,
    reference: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Compute the best so far and the hypervolume against the training until then: `StudyFindings.progress`."""
    table = results.front(objectives, reference=reference)
    columns = table.attrs["objectives"]
    goals = [results.objective(column) for column in columns]
    times = _ends(results.trials)
    usable = table[contends(table)].set_index("config_hash")
    order = times.groupby("config_hash", observed=True)["ended"].max().reindex(usable.index).sort_values(kind="stable")
    usable = usable.loc[order.index]
    spent = times.sort_values("ended", kind="stable").assign(spent=lambda rows: rows["train_gflops"].cumsum())
    whole = float(times["train_gflops"].sum())
    signs = np.array([goal.sign for goal in goals])
    points = usable[columns].to_numpy(dtype=float) * signs
    first = next((i for i, goal in enumerate(goals) if not goal.is_cost), 0)
    corner = None
    if table.attrs["hypervolume"] is not None:
        corner = np.array(list(table.attrs["reference_point"].values())) * signs
    ends, sums = spent["ended"].to_numpy(dtype=float), spent["spent"].to_numpy(dtype=float)
    until = sums[np.searchsorted(ends, order.to_numpy(dtype=float), side="right") - 1]
    told = pd.DataFrame(
        {
            "candidate": usable["candidate"].to_numpy(),
            "config_hash": usable.index.to_numpy(),
            "train_gflops": until,
            "share": until / whole if whole > 0 else np.nan,
            "best": np.minimum.accumulate(points[:, first]) * signs[first],
            "hypervolume": np.nan if corner is None else _volumes(points, corner),
            "on_front": usable["on_front"].to_numpy(dtype=bool),
        },
        columns=list(COLUMNS),
    )
    attrs = {key: table.attrs.get(key) for key in ("reference_point", "reference_from")}
    told.attrs.update(objectives=columns, metric=columns[first], note=table.attrs.get("refused", ""), **attrs)
    return told


def _volumes(points: NDArray[np.float64], corner: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the hypervolume (k,) of the first points (k, objectives), computed anew where the front moves."""
    volumes, volume = np.zeros(len(points)), 0.0
    front = points[:0]
    for i, point in enumerate(points):
        if not (front <= point).all(axis=1).any():
            front = np.vstack([front[~(front >= point).all(axis=1)], point])
            volume = hypervolume(front, corner)
        volumes[i] = volume
    return volumes


def _ends(trials: pd.DataFrame) -> pd.DataFrame:
    """Return when each trial ended, and the Gflops of its training: config_hash, ended, train_gflops.

    Raises InputError where it is not known when they ended.
    """
    ran = trials[trials["state"].isin(("complete", "diverged", "paused")) & trials["config_hash"].notna()]
    column = next((c for c in ("simulated_end", "ended") if c in ran and ran[c].notna().all()), None)
    if column is None or ran.empty:
        raise InputError(
            "when trials ended is not recorded, as in folders of earlier versions, so neither is what was known after "
            "how much training"
            if len(ran)
            else "no trial has ended yet"
        )
    passes = ran["gflops"].astype(float)
    if TRAIN_PASS in ran:
        passes = ran[TRAIN_PASS].astype(float).fillna(passes)
    return pd.DataFrame(
        {
            "config_hash": ran["config_hash"],
            "ended": ran[column].astype(float),
            "train_gflops": TRAIN_PASSES * passes * ran["images"].astype(float),
        }
    )
