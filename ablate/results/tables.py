"""The table of results: a row a candidate with its cost, its metrics over seeds, and its effect."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.candidates.objectives import COST_NAMES, SAMPLE, TRAIN
from ablate.errors import InputError
from ablate.results.front import WITHOUT_VALUE, front
from ablate.results.fronts.membership import membership
from ablate.results.numbers import count, number, percent, plus_minus, probability
from ablate.results.quality_curves import NoPointsError
from ablate.results.unequal import unequal

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

EFFECT = ("difference", "low", "high", "p", "p_holm")
# Columns of the time to quality, here and in its own table.
TIMES = {
    "time_to_quality": "time_to_quality",
    "time_to_quality.low": "low",
    "time_to_quality.high": "high",
    "time_to_quality.reached": "reached",
}


def grouped(results: StudyAnalysis) -> pd.DataFrame:
    """Compute the table of results, as numbers: a row a candidate, its seeds grouped.

    Columns: candidate, `c.*`, gflops, sample_gflops, train_gflops (of a trial's whole training; both are missing where
    a folder of an earlier version does not tell them), params, `<metric>` and `<metric>.sd` (over complete seeds),
    seconds, n, diverged, failed, paused, on_front and front_probability (of the study's objectives), the effect on the
    first metric against the baseline, and, where quality was measured during training, the time to quality
    (`attrs["time_to_quality"]` says to which).

    Best first in the study's quality, candidates of which a seed diverged after all that came through. What
    cannot be computed, because values were taken in different ways, is left missing and named in
    `attrs["problems"]`. `attrs["pairs"]`: the most seeds that a candidate shares with the baseline. `attrs["unsure"]`:
    why it is not known how probably candidates are on the front; "" where it is.
    """
    return results.once("the table of results", lambda: _grouped(results))


def _grouped(results: StudyAnalysis) -> pd.DataFrame:
    problems: list[str] = []
    pairs = 0
    costs = front(
        results.trials, results.metrics, results.candidates, results.objectives(["gflops", "params", "seconds"])
    )
    keep = [c for c in costs.columns if c.startswith("c.")]
    table = costs[["candidate", "config_hash", *keep, "gflops", "params", "seconds", "n", *WITHOUT_VALUE]].copy()
    behind = list(table.columns).index("gflops") + 1
    for place, (name, known) in enumerate(dearer(results.trials).items(), start=behind):
        table.insert(place, name, table["config_hash"].map(known).astype(float))
    try:
        if (broken := results.violations()) is not None:
            table["violates"] = [broken.get(str(h), "") for h in table["config_hash"].tolist()]
    except InputError as error:
        problems.append(str(error))
    measured = [o.column for o in results.measured]
    for column in measured:
        try:
            column_values = results.front([column]).set_index("config_hash")
        except InputError as error:
            problems += [str(error)] if str(error) not in problems else []
            continue
        for name in (column, f"{column}.sd"):
            table[name] = table["config_hash"].map(column_values[name])
    try:
        table["on_front"] = table["config_hash"].map(results.front().set_index("config_hash")["on_front"]).astype(bool)
        members = membership(results)
        chances = members.set_index("config_hash")["probability"]
        table["front_probability"], unsure = table["config_hash"].map(chances).astype(float), members.attrs["note"]
    except InputError:  # told above
        table["on_front"], table["front_probability"], unsure = False, math.nan, ""
    quality = results.quality
    if quality and results.baseline and quality.column in table:
        try:
            effects = results.effects(quality.column)
        except InputError as error:  # looks at seeds that the lock does not say rightly
            problems += [str(error)] if str(error) not in problems else []
        else:
            pairs = int(effects["n"].max()) if len(effects) else 0
            effects.attrs = {}  # a difference for each seed of each candidate, which pandas would copy each time
            effects = effects.set_index("config_hash")
            for name in EFFECT:
                table[name] = table["config_hash"].map(effects[name]).astype(float)
    times = None
    try:
        times = results.time_to_quality()
    except NoPointsError:
        pass
    except InputError as error:
        problems += [str(error)] if str(error) not in problems else []
    if times is not None:
        by_hash = times.set_index("config_hash")
        for name in TIMES:
            table[name] = table["config_hash"].map(by_hash[TIMES[name]])
    if quality and quality.column in table:
        signed = (table[quality.column] * quality.sign).to_numpy(dtype=float)
        trained = results.trials.groupby("config_hash", observed=True)["images"].max().reindex(table["config_hash"])
        furthest = -trained.fillna(0).to_numpy(dtype=float) * (table["paused"] > 0).to_numpy() * np.isnan(signed)
        order = np.lexsort([signed, (table["diverged"] > 0).to_numpy(), furthest, np.isnan(signed)])
        table = table.iloc[order]
    table = table.reset_index(drop=True)
    table.attrs.clear()
    table.attrs.update(
        problems=[*problems, *unequal(results)],
        metrics=[c for c in measured if c in table],
        pairs=pairs,
        unsure=unsure,
    )
    table.attrs["time_to_quality"] = None if times is None else dict(times.attrs)
    return table


def dearer(trials: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    """Return what a candidate costs beside a forward pass, {column: mean over its trials, by config_hash}.

    Of a sample, which is known before training; of training, over the complete seeds: one that diverged took less.
    """
    complete = trials[trials["state"] == "complete"]
    found = {}
    for name, rows in ((SAMPLE, trials), (TRAIN, complete)):
        groups = rows.groupby("config_hash", observed=True)[name]
        means, least = groups.mean().astype(float), groups.min().astype(float)
        # Of equal values the mean is that value: rounding would make one candidate dearer.
        found[name] = means.where(least < groups.max().astype(float), least)
    return found


def _gflops(value: float) -> str:
    """Format four digits with their zeros, so that a column can be compared at a glance."""
    return f"{value:#.4g}" if math.isfinite(value) else "–"


def _time(row: pd.Series[Any]) -> str:
    """Format a time to quality with its interval, or how many seeds get there."""
    mean, low, high = (float(row[name]) for name in ("time_to_quality", "time_to_quality.low", "time_to_quality.high"))
    if math.isnan(mean):
        return f"{row['time_to_quality.reached']:.0f} of {row['n']}" if row["n"] else "–"
    return number(mean, 3) if math.isnan(low) else f"{number(mean, 3)} ({number(low, 3)} to {number(high, 3)})"


def _front(row: pd.Series[Any]) -> str:
    """Mark who is on the front ('●') or breaks a constraint ('×'); beside it how probably, where that is known."""
    if not row["on_front"] and row.get("violates"):
        return "×"
    chance = float(row["front_probability"])
    mark, told = "●" if row["on_front"] else "", percent(chance)
    if math.isnan(chance) or not (row["on_front"] or chance >= 0.005):
        return mark
    return f"{mark} {told:>6}"


def formatted(results: StudyAnalysis, table: pd.DataFrame, sign: str = "±") -> pd.DataFrame:
    """Format the table of results as text: `mean ± sd`, one column a metric; the front is marked by '●'."""
    base = results.baseline
    told = [name for name in (SAMPLE, TRAIN) if table[name].notna().any()]
    rows = []
    for _, row in table.iterrows():
        is_baseline = base is not None and row["config_hash"] == base.config_hash
        cells = {
            "candidate": f"{row['candidate']} (baseline)"
            if is_baseline and row["candidate"] != "baseline"
            else row["candidate"]
        }
        cells[COST_NAMES["gflops"]] = _gflops(row["gflops"])
        cells |= {COST_NAMES[name]: number(row[name]) for name in told}
        cells["params"] = count(row["params"])
        for metric in table.attrs["metrics"]:
            cells[metric] = plus_minus(row[metric], row[f"{metric}.sd"], sign)
        if (times := table.attrs["time_to_quality"]) is not None:
            cells[f"Gflops to {number(times['value'])}"] = _time(row)
        missing = [f"{row[k]} {k}" for k in WITHOUT_VALUE if row[k]]
        cells["n"] = " + ".join([str(row["n"]), *missing])
        cells["front"] = _front(row)
        if "p_holm" in table and table.attrs["pairs"] != 1:  # of one pair p is 1, whatever it shows
            cells["p (Holm)"] = "" if is_baseline else probability(row["p_holm"])
        rows.append(cells)
    return pd.DataFrame(rows, columns=None if rows else ["candidate", "Gflops", "params", "n", "front"])
