"""The table for a paper: means with intervals, and which candidates the study's test does not tell from the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.candidates.objectives import COST_NAMES, SAMPLE, TRAIN, Objective
from ablate.errors import InputError
from ablate.io.text import label, printable
from ablate.results.intervals import Mean, intervals
from ablate.results.measurements import DECIDES
from ablate.results.numbers import count, number, plus_minus
from ablate.results.tables import dearer

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

    from ablate.results.analysis import StudyAnalysis

COSTS = (*COST_NAMES, "params")
DEARER = (SAMPLE, TRAIN)  # which folders of earlier versions may not tell
BEST = "bold: the best, and what the test of the study does not tell from it"
# How a value was taken, as the caption says it; the others of `DECIDES` are told by their names.
WORDS = {
    "samples": "{:,.0f} samples",
    "features": "features {}",
    "features_hash": "their weights {:.8}",
    "reference_hash": "reference {:.8}",
    "solver": "solver {}",
    "nfe": "{:g} NFE",
    "guidance": "guidance {}",
    "ema": "EMA {}",
    "quantisation": "8-bit pixels by {}",
    "labels": "labels {}",
}


class PaperTable(pd.DataFrame):
    """A row a candidate, the best first; `.style` shows it as it stands in a paper.

    Columns: candidate, id (the beginning of its hash), `c.*`, gflops, sample_gflops, train_gflops, params, and for each
    metric `<metric>` (mean over the complete seeds), `<metric>.low` and `<metric>.high` (95 % interval, one deviation
    for all candidates),
    `<metric>.n`, and `<metric>.best`: whether it is the best or the study's test does not tell it from the best.
    `attrs`: metrics, caption, larger_is_better, alike (columns that are the same for all).
    """

    @property
    def _constructor(self) -> type[PaperTable]:
        return PaperTable

    @property
    def style(self) -> Styler:
        """Show means ± half of their intervals, the best in bold, with the caption; names are escaped for HTML.

        `.to_html()` and `.to_excel(path)` write it; for LaTeX and markdown use `ablate export --to`.
        """
        needed = [f"{name}{end}" for name in self.attrs.get("metrics", ()) for end in ("", ".high", ".best")]
        if "metrics" not in self.attrs or not {"candidate", *needed} <= set(self.columns):  # a part of the table
            return super().style
        cells, bold = self.cells()
        styler = pd.DataFrame(cells).style.hide(axis="index").format(escape="html")
        styles = pd.DataFrame(np.where(bold, "font-weight: bold", ""), columns=cells.columns, index=cells.index)
        styler = styler.apply(lambda _: styles, axis=None).set_caption(_html(self.attrs["caption"]))
        return styler.format_index(escape="html", axis="columns")

    def cells(self) -> tuple[pd.DataFrame, Any]:
        """Return the table as text, printable, and which cells are bold, (rows, columns)."""
        shown: dict[str, list[str]] = {"candidate": [label(name) for name in self["candidate"]]}
        bold: dict[str, list[bool]] = {}
        for name in COSTS:
            if name in self and name not in self.attrs["alike"] and (name not in DEARER or self[name].notna().any()):
                write = count if name == "params" else number
                shown[COST_NAMES.get(name, name)] = [write(float(v)) for v in self[name]]
        for name in self.attrs["metrics"]:
            halves = self[f"{name}.high"] - self[name]
            column = printable(name)
            shown[column] = [plus_minus(float(m), float(h)) for m, h in zip(self[name], halves, strict=True)]
            bold[column] = self[f"{name}.best"].tolist()
        if "n" in self:
            shown["n"] = [str(n) for n in self["n"]]
        cells = pd.DataFrame(shown)
        return cells, np.array([bold.get(column, [False] * len(cells)) for column in cells.columns], dtype=bool).T


def paper_table(results: StudyAnalysis, metrics: Sequence[str] | None = None) -> PaperTable:
    """Compute the table. Raises InputError for a metric that is not there, or values that may not be compared."""
    goals = [results.objective(m) for m in metrics] if metrics is not None else list(results.measured)
    table = results.front([goals[0].column] if goals else ["gflops"])
    order = [str(h) for h in table["config_hash"]]
    by_hash = {c.config_hash: c for c in results.candidates}
    columns: dict[str, list[Any]] = {
        "candidate": [by_hash[h].label for h in order],
        "id": [h[:12] for h in order],
    }
    choices = table.set_index("config_hash")[[c for c in table.columns if c.startswith("c.")]]
    for path in choices.columns:
        columns[str(path)] = choices[path].reindex(order).tolist()
    dear = dearer(results.trials)
    for cost in COSTS:
        if cost in dear:
            columns[cost] = dear[cost].reindex(order).tolist()
            continue
        known = intervals(results, Objective(cost, cost))
        columns[cost] = [known[h].mean if h in known else math.nan for h in order]
    captions: dict[str, list[str]] = {}
    for goal in goals:
        found, tied, note = _of_metric(results, goal)
        rows = [found.get(h, Mean(math.nan, math.nan, 0)) for h in order]
        columns[goal.column] = [row.mean for row in rows]
        columns[f"{goal.column}.low"] = [row.mean - row.half for row in rows]
        columns[f"{goal.column}.high"] = [row.mean + row.half for row in rows]
        columns[f"{goal.column}.n"] = [row.n for row in rows]
        columns[f"{goal.column}.best"] = [h in tied for h in order]
        better = f"{goal.column} ({'larger' if goal.larger_is_better else 'smaller'} is better)"
        captions.setdefault(note, []).append(better)
    columns["n"] = [int(n) for n in table["n"]]
    result = PaperTable(columns)
    alike = [c for c in (*COSTS, "n") if len(result) > 1 and result[c].notna().all() and result[c].nunique() == 1]
    about = f"{results.name}: mean over n seeds ± half of its 95 % interval, with one deviation for all candidates"
    same = [f"{_cost(c, float(result[c].iloc[0]))} for every candidate" for c in alike if c in COSTS]
    told = [f"{' and '.join(names)}: {note}." for note, names in captions.items()]
    result.attrs.update(
        metrics=[goal.column for goal in goals],
        caption=printable(" ".join([f"{'; '.join([about, *same])}.", *told])),
        larger_is_better={goal.column: goal.larger_is_better for goal in goals},
        alike=alike,
    )
    return result


def _of_metric(results: StudyAnalysis, goal: Objective) -> tuple[dict[str, Mean], set[str], str]:
    """Return the means of a metric, the candidates in bold, and what the caption says of it."""
    found = intervals(results, goal)
    how = identity(results, goal)
    tied, why = _tied(results, goal)
    return found, tied, f"{how}; {why}" if how else why


def identity(results: StudyAnalysis, goal: Objective) -> str:
    """Return what decides a metric's values, in words: samples, features, reference, solver, NFE, guidance, EMA."""
    rows = results.metrics
    rows = rows[rows["metric"] == goal.column]
    if rows.empty:
        return ""
    rows = rows[rows["images"] == rows.groupby("trial", observed=True)["images"].transform("max")]
    parts = []
    for field in DECIDES:
        known = list(rows[field].dropna().unique()) if field in rows and field in WORDS else []
        if len(known) > 1:
            parts.append(f"{field} differs")
        elif known:
            parts.append(WORDS[field].format(known[0]))
    return ", ".join(map(printable, parts))


def _tied(results: StudyAnalysis, goal: Objective) -> tuple[set[str], str]:
    """Return the best candidate with those that the study's test does not tell from it, and what to say of it.

    Nobody where no test could tell anybody from the best: with a seed each every candidate would be in bold.
    """
    table = results.front([goal.column])
    ranked = table[(table["n"] > 0) & (table["diverged"] == 0)]
    if "violates" in ranked:
        ranked = ranked[ranked["violates"] == ""]
    if len(ranked) < 2:
        return set(), "nothing to compare"
    best = str(ranked.iloc[(ranked[goal.column] * goal.sign).argsort(kind="stable").iloc[0]]["config_hash"])
    try:
        against = results.effects(goal.column, baseline=best)
    except InputError as error:
        return {best}, f"bold: the best, which was compared with no other ({error})"
    told = {str(key): value for key, value in against.attrs.items()}
    against.attrs = {}
    able = against["smallest_p"].astype(float) * max(told["comparisons"], 1) <= told["alpha"]
    if not able.any():
        return set(), "no bold: these seeds cannot tell the best from another"
    worse = set(against.loc[against["answer"] == "worse", "config_hash"].astype(str))
    valued = set(ranked["config_hash"].astype(str))
    return valued - worse, f"{BEST} ({told['test']}, Holm, {told['alpha']:g})"


def _html(text: str) -> str:
    from html import escape

    return escape(text)


def _cost(column: str, value: float) -> str:
    """Return a cost with its unit."""
    return f"{count(value)} parameters" if column == "params" else f"{number(value)} {COST_NAMES[column]}"
