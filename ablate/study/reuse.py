"""Reuse of measurements: what the study or `ablate evaluate` measured of a trial already is not measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.candidates.evaluation import Evaluation
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
    """The rows of one file, and how they were measured."""

    settings: str  # `key_of`
    metrics: Mapping[str, frozenset[str]]  # {digest of the metric: its columns}
    averages: Mapping[Average, str]  # {as the request has it: its label}
    rows: Sequence[Row]

    def rows_of(self, metric: Metric, average: Average) -> list[Row]:
        """Return the rows of one metric on one average; none where it was not measured here."""
        columns, label = self.metrics.get(metric.digest()), self.averages.get(average)
        if columns is None or label is None:
            return []
        return [row for row in self.rows if row["metric"] in columns and row["ema"] == label]


def measured_rows(trial: Path, job: Mapping[str, Any], catalog: Catalog) -> list[MeasuredRows]:
    """Return the rows of the trial's own record first, then those that were measured later."""
    from ablate.worker.remeasure import read

    record, candidate = records.read_valid(trial), job["candidate"]
    own = {"evaluation": job["evaluation"], "solver": candidate["solver"], "guidance": candidate["guidance"]}
    later = [content for file in records.measured(trial) if (content := read(file)) is not None]
    measurements = [
        (own, None if record is None else _of_the_end(record)),
        *((content.get("asked"), content.get("metrics")) for content in later),
    ]
    measured = []
    for ways, rows in measurements:
        # Rows of before solvers had their settings in a row cannot be compared, and are measured again.
        if not isinstance(ways, Mapping) or not rows or any(row.get("solver_settings") is None for row in rows):
            continue
        try:
            measured.append(_rows_of(ways, rows, job["data"], catalog))
        except (SpecError, KeyError):  # a component that is there no more
            continue
    return measured


def _of_the_end(record: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a record that its study measured at the end of training, without those of points before."""
    rows: list[Row] = record["metrics"]
    return [row for row in rows if row["images"] == record["images"] and row["samples"] == rows[0]["samples"]]


def _rows_of(ways: Mapping[str, Any], rows: Sequence[Row], data: Any, catalog: Catalog) -> MeasuredRows:
    evaluation = fill(Evaluation, ways["evaluation"], catalog)
    labels = list(dict.fromkeys(str(row["ema"]) for row in rows))  # in the order of the request
    requested = ways.get("averages")
    averages: dict[Average, str] = {}
    if requested is None:
        averages = {None: labels[0], **{label: label for label in labels}}
    else:
        ordered = sorted(requested, key=lambda average: not isinstance(average, str))  # labels come before lengths
        if len(ordered) == len(labels):
            averages = dict(zip(ordered, labels, strict=True))
    metrics = {metric.digest(): _columns(metric, evaluation.samples) for metric in evaluation.metrics}
    return MeasuredRows(key_of(ways, data, catalog), metrics, averages, rows)


def _columns(metric: Metric, samples: int) -> frozenset[str]:
    """Return the columns that a metric may have, with many pictures in the reference or few."""
    return frozenset({*metric.columns(samples).values(), *metric.columns(samples, 1).values()})


def key_of(ways: Mapping[str, Any], data: Any, catalog: Catalog) -> str:
    """Return a hash of the samples that are drawn: of all the ways but metrics and averages."""
    latents = "latents" in create(Data, data, catalog).provides()
    solver, guidance = create(Solver, ways["solver"], catalog), create(Guidance, ways["guidance"], catalog)
    evaluation = fill(Evaluation, ways["evaluation"], catalog).active()
    drawn = {name: value for name, value in evaluation.items() if name not in ("metrics", "batch")}
    return digest([drawn, solver.settled(latents).active(), guidance.active()])


def missing(
    ways: Mapping[str, Any], data: Any, measured: Sequence[MeasuredRows], catalog: Catalog
) -> tuple[list[Row], list[dict[str, Any]]]:
    """Return the rows that are measured already, and the ways that are not: none, or one for each set of metrics."""
    evaluation = fill(Evaluation, ways["evaluation"], catalog)
    key = key_of(ways, data, catalog)
    rows: list[Row] = []
    averages_by_metrics: dict[tuple[int, ...], list[Average]] = {}
    for average in ways["averages"] or [None]:
        missing_metrics = []
        for i, metric in enumerate(evaluation.metrics):
            candidates = (file.rows_of(metric, average) for file in measured if file.settings == key)
            metric_rows = next((file_rows for file_rows in candidates if file_rows), [])
            rows += metric_rows
            if not metric_rows:
                missing_metrics.append(i)
        if missing_metrics:
            averages_by_metrics.setdefault(tuple(missing_metrics), []).append(average)
    spec = evaluation.spec()
    return rows, [
        {
            **ways,
            "evaluation": {**spec, "metrics": [spec["metrics"][i] for i in metrics]},
            "averages": None if averages == [None] else averages,
        }
        for metrics, averages in averages_by_metrics.items()
    ]
