"""The lines of the page's charts: quality and loss during training, effects, and what probes saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.errors import InputError
from ablate.io.text import label, printable
from ablate.results.figures import curves, quality, style
from ablate.results.figures.leading import leading
from ablate.results.numbers import number, probability, signed
from ablate.results.page.candidates import finite

if TYPE_CHECKING:
    import pandas as pd

    from ablate.results.analysis import StudyAnalysis

LINES = 24  # candidates that a chart draws; the page says how many it leaves out
EFFECTS = 60  # rows of the forest plot at the most
POINTS = 120  # points of a line at the most
MOMENTS = 8  # moments of the training at which probes are shown, at the most
LABELS = {"images": "training images", "train_gflops": "Gflops of training", "train_seconds": "seconds of training"}


def drawn(results: StudyAnalysis) -> list[str]:
    """Return the hashes of the candidates that have a line: the baseline, the front, and the best."""
    return [c.config_hash for c in leading(results, LINES)]


def during(results: StudyAnalysis) -> dict[str, Any] | None:
    """Return quality during training with its 95 % intervals, by images, compute and seconds; None without points."""
    try:
        found = quality.quality_points(results)
    except InputError:  # values that may not be compared: the table's problems say so
        return None
    if found is None:
        return None
    goal, points, _ = found
    means = quality.quality_means(points)
    kept = [of for of in LABELS if np.isfinite(means[of].to_numpy(dtype=float)).all()]
    lines = {}
    for name in drawn(results):
        own = means[means["config_hash"] == name].sort_values("images")
        if len(own):
            lines[name] = {column: _numbers(own[column]) for column in (*kept, "value", "low", "high")}
    label_ = printable(style.axis_label(goal))
    return {"label": label_, "axes": {of: LABELS[of] for of in kept}, "lines": lines} if lines else None


def losses(results: StudyAnalysis) -> dict[str, Any] | None:
    """Return the training loss of complete trials, mean over seeds, {hash: {images, loss}}; None without curves."""
    trials = results.trials.loc[results.trials["state"] == "complete", ["trial", "config_hash"]]
    trials = trials[trials["config_hash"].isin(drawn(results))]
    frame = results.curves_of(trials["trial"]) if len(trials) else trials
    if frame.empty:
        return None
    frame = frame[np.isfinite(frame["loss"]) & np.isfinite(frame["images"])]
    frame = frame.merge(trials, on="trial")
    lines = {}
    for name, own in frame.groupby("config_hash", observed=True):
        mean = curves.binned(own).groupby("images", observed=True)["loss"].mean()
        mean = mean.iloc[:: max(1, -(-len(mean) // POINTS))]
        lines[str(name)] = {"images": _numbers(mean.index.to_series()), "loss": _numbers(mean)}
    return {"label": "training loss", "axes": {"images": LABELS["images"]}, "lines": lines} if lines else None


def forest(results: StudyAnalysis) -> dict[str, Any] | None:
    """Return the effects against the baseline, the best first; None where there is nothing to compare."""
    goal = results.quality
    if goal is None or results.baseline is None:
        return None
    try:
        table = results.effects(goal.column)
    except InputError:
        return None
    told = table.attrs
    ratio = told["scale"] == "log"
    columns = ("ratio", "ratio_low", "ratio_high") if ratio else ("difference", "low", "high")
    table = table[table["n"] > 0]
    if table.empty:
        return None
    write = number if ratio else signed
    rows = [
        {
            "hash": str(row["config_hash"]),
            "value": finite(row[columns[0]]),
            "low": finite(row[columns[1]]),
            "high": finite(row[columns[2]]),
            "text": write(float(row[columns[0]])),
            "p": probability(float(row["p_holm"])),
            "answer": str(row["answer"]),
            "n": int(row["n"]),
        }
        for row in table.head(EFFECTS).to_dict("records")
    ]
    delta = told["delta"]
    return {
        "label": f"{printable(style.column_label(goal))}: {'ratio to' if ratio else 'difference from'} "
        f"{label(results.baseline.label, 60)}",
        "origin": 1.0 if ratio else 0.0,
        "larger": goal.larger_is_better,
        "margin": None if delta is None else [1 / (1 + delta), 1 + delta] if ratio else [-delta, delta],
        "test": printable(told["test"]),
        "level": 100 * (1 - told["alpha"]),
        "more": len(table) - len(rows),
        "rows": rows,
    }


def probed(results: StudyAnalysis) -> list[dict[str, Any]]:
    """Return what each probe saw, a mapping a probe and quantity: its axis, and lines at moments of the training."""
    observations = results.probes
    if observations.empty:
        return []
    named = dict(observations.attrs.get("axes", {}))
    trials = results.trials[["trial", "config_hash"]]
    rows = observations.merge(trials[trials["config_hash"].isin(drawn(results))], on="trial")
    rows = rows[np.isfinite(rows["value"])]
    found = []
    for name, own in rows.groupby("probe", sort=True, observed=True):
        along = bool(own["x"].notna().any())
        for site, part in _quantities(own, along):
            found.append(_probe(str(name), site, str(named.get(name, "x")) if along else "", part))
    return found


def _quantities(rows: pd.DataFrame, along: bool) -> list[tuple[str, pd.DataFrame]]:
    """Split what has several values at one x by its site; sites with one x each (blocks) are one line."""
    if along and rows.groupby(["trial", "images", "site"], observed=True)["x"].nunique().max() == 1:
        return [("", rows)]
    sites = [str(site) for site in rows["site"].unique()]
    return [(site if len(sites) > 1 else "", rows[rows["site"].astype(str) == site]) for site in sites[:6]]


def _probe(name: str, site: str, axis: str, rows: pd.DataFrame) -> dict[str, Any]:
    across = "x" if axis else "images"
    moments = [("during training", rows)] if not axis else _moments(rows)
    lines: dict[str, dict[str, Any]] = {}
    for moment, part in moments:
        means = part.groupby(["config_hash", across], observed=True)["value"].mean().reset_index()
        lines[moment] = {
            str(h): {"x": _numbers(own[across]), "value": _numbers(own["value"])}
            for h, own in means.groupby("config_hash", observed=True)
        }
    values = rows["value"]
    return {
        "name": printable(name.replace("_", " ")),
        "site": label(site),
        "axis": printable(axis) or LABELS["images"],
        "moments": lines,
        "log": bool(values.min() > 0 and values.max() / values.min() > 20),
    }


def _moments(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return observations by the training images that the networks had seen, at most MOMENTS of them."""
    images = sorted(set(rows["images"].astype(int)))
    if len(images) > MOMENTS:
        images = [images[round(i * (len(images) - 1) / (MOMENTS - 1))] for i in range(MOMENTS)]
    return [(f"{at:,} images", rows[rows["images"] == at]) for at in images]


def _numbers(column: pd.Series[Any]) -> list[float | None]:
    """Return five digits of each: no chart shows more."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in column.astype(float).tolist()]
