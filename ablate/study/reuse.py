"""Reuse of measurements: what the study or `ablate evaluate` measured of a trial already is not measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.candidates.trial import Evaluation
from ablate.discovery.catalog import Catalog
from ablate.errors import SpecError
from ablate.io.files import digest
from ablate.kinds.data import Data
from ablate.kinds.guidance import Guidance
from ablate.kinds.metric import Metric
from ablate.kinds.solver import Solver
from ablate.spec.slots import create, fill
from ablate.worker import records

Row = dict[str, Any]
Average = str | float | None  # a label, a relative length, or the one that the study measures


@dataclass(frozen=True)
class MeasuredRows:
    """The rows of one file, and what they were asked with."""

    settings: str  # `key_of`
    metrics: Mapping[str, frozenset[str]]  # {digest of the metric: its columns}
    averages: Mapping[Average, str]  # {as it was asked for: its label}
    rows: Sequence[Row]

    def of(self, metric: Metric, average: Average) -> list[Row]:
        """The rows of one metric on one average; none where it was not measured here."""
        columns, label = self.metrics.get(metric.digest()), self.averages.get(average)
        if columns is None or label is None:
            return []
        return [row for row in self.rows if row["metric"] in columns and row["ema"] == label]


def measured_rows(trial: Path, job: Mapping[str, Any], known: Catalog) -> list[MeasuredRows]:
    """The trial's own record first, then what was measured later."""
    from ablate.worker.remeasure import read

    record, candidate = records.whole(trial), job["candidate"]
    own = {"evaluation": job["evaluation"], "solver": candidate["solver"], "guidance": candidate["guidance"]}
    files = records.measured(trial)
    later = [one for file in files if (one := read(file)) is not None]
    held = [
        (own, None if record is None else record["metrics"]),
        *((one.get("asked"), one.get("metrics")) for one in later),
    ]
    found = []
    for asked, rows in held:
        # What was measured before solvers were told apart is told apart from all else, and measured again.
        if not isinstance(asked, Mapping) or not rows or any(row.get("solver_settings") is None for row in rows):
            continue
        try:
            found.append(_rows_of(asked, rows, job["data"], known))
        except (SpecError, KeyError):  # a component that is there no more
            continue
    return found


def _rows_of(asked: Mapping[str, Any], rows: Sequence[Row], data: Any, known: Catalog) -> MeasuredRows:
    evaluation = fill(Evaluation, asked["evaluation"], known)
    labels = list(dict.fromkeys(str(row["ema"]) for row in rows))  # in the order in which they were asked for
    wanted = asked.get("averages")
    averages: dict[Average, str] = {}
    if wanted is None:
        averages = {None: labels[0], **{label: label for label in labels}}
    else:
        ordered = sorted(wanted, key=lambda one: not isinstance(one, str))  # labels come before lengths
        if len(ordered) == len(labels):
            averages = dict(zip(ordered, labels, strict=True))
    metrics = {m.digest(): _columns(m, evaluation.samples) for m in evaluation.metrics}
    return MeasuredRows(key_of(asked, data, known), metrics, averages, rows)


def _columns(metric: Metric, samples: int) -> frozenset[str]:
    """The columns that it may have, with many pictures in the reference or few."""
    return frozenset({*metric.columns(samples).values(), *metric.columns(samples, 1).values()})


def key_of(asked: Mapping[str, Any], data: Any, known: Catalog) -> str:
    """What samples were drawn and looked at: all that was asked for but metrics and averages."""
    made = create(Data, data, known)
    solver, guidance = create(Solver, asked["solver"], known), create(Guidance, asked["guidance"], known)
    evaluation = fill(Evaluation, asked["evaluation"], known).active()
    drawn = {name: held for name, held in evaluation.items() if name not in ("metrics", "batch")}
    return digest([drawn, solver.settled("latents" in made.provides()).active(), guidance.active()])


def missing(
    asked: Mapping[str, Any], data: Any, there: Sequence[MeasuredRows], known: Catalog
) -> tuple[list[Row], list[dict[str, Any]]]:
    """The rows that are there, and what is left to ask: nothing, or one request for each set of metrics."""
    evaluation = fill(Evaluation, asked["evaluation"], known)
    key = key_of(asked, data, known)
    rows: list[Row] = []
    left: dict[tuple[int, ...], list[Average]] = {}
    for average in asked["averages"] or [None]:
        wanting = []
        for i, metric in enumerate(evaluation.metrics):
            found = next((got for one in there if one.settings == key and (got := one.of(metric, average))), [])
            rows += found
            if not found:
                wanting.append(i)
        if wanting:
            left.setdefault(tuple(wanting), []).append(average)
    spec = evaluation.spec()
    return rows, [
        {
            **asked,
            "evaluation": {**spec, "metrics": [spec["metrics"][i] for i in which]},
            "averages": None if averages == [None] else averages,
        }
        for which, averages in left.items()
    ]
