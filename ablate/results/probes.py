"""Observations of probes: those of all trials as one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.io.files import file_hash, write_with
from ablate.io.sealed import DamagedError
from ablate.results.readable import read_mapping
from ablate.worker import records

PROBE = ("trial", "probe", "images", "site", "x", "value")
TABLE = "probes.parquet"
SUMS = "tables.json"  # {"files": {table: SHA-256}}: of a folder of which only the tables are left


def read(folder: Path, warnings: list[str], trials: Iterable[str] | None = None) -> pd.DataFrame:
    """Read the observations of probes: a row each, with trial, probe, images, site, x, value.

    Taken from the trials' own files, or from the committed table where there is no trial. trials: those that were
    observed, where it is known: no other packed file is opened.
    `attrs["axes"]` says by probe what x is. A file that is damaged is named in `warnings`.
    """
    rows: list[dict[str, Any]] = []
    axes: dict[str, str] = {}
    if (folder / TABLE).exists() and not (folder / "trials").is_dir():
        return _read_table(folder / TABLE, warnings)
    observed = {file.parent for file in folder.glob(f"trials/*/{records.PROBES}")}
    may = records.recorded(folder) if trials is None else [folder / "trials" / trial for trial in trials]
    for trial in sorted(observed.union(may)):
        document = _document(trial, warnings)
        points, names = document.get("rows"), document.get("axes")
        good = [p for p in points if isinstance(p, Mapping) and "probe" in p] if isinstance(points, list) else []
        rows.extend({**point, "trial": trial.name} for point in good)
        axes.update({str(k): str(v) for k, v in names.items()} if isinstance(names, Mapping) else {})
    return _frame(rows, axes)


def _document(trial: Path, warnings: list[str]) -> Mapping[str, Any]:
    """Return what probes observed of a trial; {} where there is nothing, and, with a warning, where it is damaged."""
    try:
        found = records.content(trial, records.PROBES)
    except FileNotFoundError:
        return {}
    except DamagedError as error:
        warnings.append(str(error))
        return {}
    return found if isinstance(found, Mapping) else {}


def write_table(folder: Path, trials: Iterable[str] | None = None) -> None:
    """Write probes.parquet, atomically, where a trial has observations. trials: see `read`."""
    rows = read(folder, [], trials)
    if len(rows) and (folder / "trials").is_dir():
        table = rows.assign(axis=rows["probe"].map(rows.attrs["axes"]))
        table.attrs = {}
        write_with(folder / TABLE, lambda path: table.to_parquet(path, index=False))


def as_written(table: Path, warnings: list[str]) -> bool:
    """Return whether a table has its recorded checksum (true without one); add a warning where it has not."""
    problems: list[str] = []
    sums = read_mapping(table.parent / SUMS, problems).get("files")
    warnings.extend(f"{line}; whether the tables are as they were written is not known" for line in problems)
    checksum = sums.get(table.name) if isinstance(sums, Mapping) else None
    if checksum is None or not table.is_file() or file_hash(table) == checksum:
        return True
    warnings.append(f"{table}: is not as it was written: its checksum is another than in {SUMS}; it does not count")
    return False


def _read_table(path: Path, warnings: list[str]) -> pd.DataFrame:
    if not as_written(path, warnings):
        return _frame([], {})
    try:
        table = pd.read_parquet(path)
        axes = table.drop_duplicates("probe").set_index("probe")["axis"]
        rows = [{str(key): value for key, value in row.items()} for row in table[list(PROBE)].to_dict("records")]
        return _frame(rows, {str(k): str(v) for k, v in axes.items()})
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
        warnings.append(f"{path}: cannot be read ({error})")
        return _frame([], {})


def _frame(rows: Iterable[Mapping[str, Any]], axes: Mapping[str, str]) -> pd.DataFrame:
    listed = list(rows)
    frame = pd.DataFrame({name: [row.get(name) for row in listed] for name in PROBE})
    for name in ("images", "x", "value"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype(float)
    frame.attrs["axes"] = dict(axes)
    return frame


def labels(trials: pd.DataFrame) -> list[str]:
    """Return the probes that have a column (`p.<name>`) in a table of trials."""
    return [str(c).removeprefix("p.") for c in trials.columns if str(c).startswith("p.")]


def observed(trials: pd.DataFrame) -> list[str]:
    """Return the trials that may have observations, by the table of trials: none where it has no column of a probe."""
    return trials["trial"].tolist() if labels(trials) else []


def summary_columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return {`p.<probe>`: the summary of each trial's record, NaN where it has none}."""
    entries = [row.get("probes") for row in rows]
    summaries: list[Mapping[str, Any]] = [summary if isinstance(summary, Mapping) else {} for summary in entries]
    names = dict.fromkeys(name for summary in summaries for name in summary)
    return {f"p.{name}": [_number(summary.get(name)) for summary in summaries] for name in names}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
