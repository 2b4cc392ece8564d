"""Make the tables of trials, metrics and curves from rows of JSON; columns and types are always the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

import pandas as pd

from ablate.candidates.objectives import TRAIN, TRAIN_PASS, trained_gflops
from ablate.evaluation.collapse import THRESHOLD as COLLAPSED
from ablate.evaluation.noisiness import THRESHOLD as NOISY
from ablate.results.divergence import describe_divergence
from ablate.results.probes import summary_columns

Row = Mapping[str, Any]

IDENTITY = ("trial", "config_hash", "seed", "choices")
TRIAL = (
    *("trial", "config_hash", "seed", "state", "params", "gflops", "macs", "images", "seconds"),
    *("peak_memory_bytes", "device", "versions"),
)
EXTRA = (
    *("sample_gflops", TRAIN, "loss", "train_seconds", "evaluate_seconds", "overhead_seconds"),
    *("train_memory_bytes", "estimated_memory_bytes", "micro", "skipped_steps", "noise", "variety"),
    *("failure", "message", "data_hash", "sources"),
)
LATER = ("ended",)  # of trials of versions that record it
COMPILED = ("compile_seconds",)  # of trials whose network was to be compiled
PACKED = ("packed",)  # of trials that were trained with others as one
DEVICES = ("devices", "device_busy")  # of trials that several devices shared; of those on a GPU
OTHER_PASS = (TRAIN_PASS,)  # of trials whose forward pass in training is another
# Of trials that began with weights of another candidate of their search.
INHERITED = ("inherited_from", "inherited_share", "inherited_gap", "ancestors", "ancestors_train_gflops")
ADAPTED = ("trainable_params",)  # of trials whose adapter leaves weights as they are
# What else of a record, a failure or a job a row of `trials` is made of.
MADE_OF = ("choices", "matched", "probes", "divergence", "class", "hashes", "schema", "inherited")
# Columns of a folder with trials that were not run in it from the beginning on.
ELSEWHERE = ("replayed", "simulated_end", "origin", "continued_from", "continued_images")
METRIC = (
    *("trial", "images", "ema", "solver", "nfe", "guidance", "metric", "features", "samples", "value", "error"),
    *("features_hash", "reference_hash", "quantisation", "solver_settings", "sample_gflops", "reference"),
    *("solver_error", "train_seconds", "labels"),
)
BEGUN = "continued_from"  # of a record: the checkpoint of a shorter training
TERM = "term_"  # before the name of a term of the loss, in a curve's rows
OF_TRIAL = frozenset(
    (
        *(*TRIAL, *EXTRA, *LATER, *COMPILED, *PACKED, *DEVICES, *OTHER_PASS, *ADAPTED, *INHERITED),
        *(*MADE_OF, *ELSEWHERE),
    )
)
CURVE = ("trial", "images", "loss", "lr", "grad_norm", "grad_norm_clipped", "images_per_second", "seconds")
# Columns that folders of earlier versions do not have.
ADDED = (
    *("solver_settings", "sample_gflops", "noise", "variety", "data_hash", "sources", "reference", "solver_error"),
    *("train_seconds", "labels", TRAIN),
)
_NUMBERS = {
    *("seed", "params", "gflops", "sample_gflops", TRAIN, "macs", "images", "seconds", "peak_memory_bytes", TRAIN_PASS),
    *("train_seconds", "evaluate_seconds", "overhead_seconds", "nfe", "samples", "value", "error", "solver_error"),
    *("loss", "lr", "grad_norm", "grad_norm_clipped", "images_per_second"),
    *("train_memory_bytes", "estimated_memory_bytes", "micro", "skipped_steps", "noise", "variety", "simulated_end"),
    *("continued_images", "ended", "compile_seconds", "trainable_params", "packed", *DEVICES, *INHERITED[1:]),
}


def stacked(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return tables one below the other; a column that one of them has not, or has empty, is missing there.

    Of empty tables and columns pandas would take the types, or not, as its version has it.
    """
    tables = list(tables)
    filled = [table.dropna(axis="columns", how="all") for table in tables if len(table)] or tables[:1]
    columns = dict.fromkeys(column for table in tables for column in table)
    return pd.concat(filled, ignore_index=True).reindex(columns=list(columns))


def metrics(rows: Iterable[Row]) -> pd.DataFrame:
    """Make the table of measurements: one row each, in the order in which they were recorded."""
    return _frame(rows, METRIC)


def curves(rows: Iterable[Row]) -> pd.DataFrame:
    """Make the table of training curves: one row a logged point of a trial's training.

    `term.<name>` is a term of a loss that has several, as a row's `term_<name>`.
    """
    listed = list(rows)
    names = dict.fromkeys(key for row in listed for key in row)
    return curves_by_column({name: [row.get(name) for row in listed] for name in names})


def curves_by_column(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Make the same table of columns of equal lengths, with None where a row has no value."""
    count = len(next(iter(columns.values()), ()))
    table = pd.DataFrame({name: _typed(name, columns.get(name, [None] * count)) for name in CURVE})
    for key in (key for key in columns if key.startswith(TERM)):
        table[f"term.{key.removeprefix(TERM)}"] = pd.Series(columns[key], dtype="float64")
    return table


def trials(rows: Sequence[Row], measured: pd.DataFrame) -> pd.DataFrame:
    """Make the table of trials: one row each.

    What it is, what it cost, its choices (`c.*`), the size by which its cost was matched (`match.*`), its last
    values (`m.*`), and what its probes' observations sum up to (`p.*`).

    `m.<metric>` is the value at the largest number of images; where several were taken there (say
    with two EMA lengths), the one that was recorded first, which is the study's own. A trial that
    did not complete has none: what it had on its way is in the metrics table only.
    """
    flat = [{**row, TRAIN: trained_gflops(row), **_extras(row)} for row in _full_hashes(rows)]
    frame = _frame(flat, TRIAL)
    for path in _paths(flat):
        frame[f"c.{path}"] = _column([row["choices"].get(path) for row in flat])
    for path in dict.fromkeys(path for row in flat for path in row.get("matched") or ()):
        frame[f"match.{path}"] = _column([(row.get("matched") or {}).get(path) for row in flat])
    last = last_rows(measured[of_trials(measured, frame.loc[frame["state"] == "complete", "trial"])])
    for name in sorted(measured["metric"].dropna().unique()):
        values = last[last["metric"] == name].set_index("trial")["value"]
        frame[f"m.{name}"] = frame["trial"].map(values).astype(float)
    for column, sums in summary_columns(flat).items():
        frame[column] = pd.Series(sums, dtype="float64")
    further = (*LATER, *COMPILED, *PACKED, *DEVICES, *OTHER_PASS, *ADAPTED, *INHERITED, *ELSEWHERE)
    present = [name for name in further if any(row.get(name) is not None for row in flat)]
    for name in (*EXTRA, *present):
        frame[name] = _typed(name, [row.get(name) for row in flat])
    return frame


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Convert a table's columns of numbers from text. Raises ValueError or TypeError for words in their place."""
    wrong = [c for c in table.columns if (c in _NUMBERS or str(c)[:2] in ("m.", "p.")) and table[c].dtype == object]
    return table.assign(**{str(c): pd.to_numeric(table[c]) for c in wrong})


def noisy(trials: pd.DataFrame) -> dict[str, float]:
    """Return {candidate: mean of `noise` over its trials} of candidates whose samples look like noise."""
    means = _means(trials, "noise")
    return {name: mean for name, mean in means.items() if mean > NOISY}


def collapsed(trials: pd.DataFrame) -> dict[str, float]:
    """Return {candidate: mean of `variety` over its trials} of candidates whose samples are nearly all alike."""
    means = _means(trials, "variety")
    return {name: mean for name, mean in means.items() if mean < COLLAPSED}


def _means(trials: pd.DataFrame, column: str) -> dict[str, float]:
    """Return the mean of a column over the trials of each candidate; {} where there is nothing."""
    if column not in trials or trials[column].isna().all():
        return {}
    means = trials.groupby("candidate", sort=False, observed=True)[column].mean().dropna()
    return {str(name): float(mean) for name, mean in means.items()}


def of_trials(rows: pd.DataFrame, trials: Iterable[Any]) -> pd.Series[bool]:
    """Return which rows are of these trials; `isin` takes ten times as long to look for thousands of words."""
    names = set(trials.tolist() if isinstance(trials, pd.Series) else trials)
    return pd.Series([trial in names for trial in rows["trial"].tolist()], rows.index, dtype=bool)


def last_rows(measured: pd.DataFrame, every: bool = False) -> pd.DataFrame:
    """Return the row at the most images of each trial and metric: the first of several, or `every` one of them."""
    images = measured["images"].fillna(-1)
    most = images.groupby([measured["trial"], measured["metric"]], observed=True).transform("max")
    last = measured[images == most]
    return last if every else last.drop_duplicates(["trial", "metric"])


def _extras(row: Row) -> dict[str, Any]:
    choices, versions, divergence = row.get("choices"), row.get("versions"), row.get("divergence")
    message, begun = row.get("message"), row.get(BEGUN)
    if isinstance(divergence, Mapping):
        message = describe_divergence(divergence)
    return {
        "choices": choices if isinstance(choices, Mapping) else {},
        "versions": json.dumps(versions, sort_keys=True) if isinstance(versions, Mapping) else versions,
        "sources": _sources(row),
        **({BEGUN: begun.get("folder"), "continued_images": begun.get("images")} if isinstance(begun, Mapping) else {}),
        **_inherited(row),
        "failure": row.get("class"),
        "message": message,
    }


def _inherited(row: Row) -> dict[str, Any]:
    """Return the columns of a trial that began with weights of another candidate; {} of one that did not."""
    told = row.get("inherited")
    if not isinstance(told, Mapping):
        return {}
    parent = f"{told.get('parent')}-s{row.get('seed')}"
    facts = (told.get(name) for name in ("share", "gap", "ancestors", "train_gflops"))
    return dict(zip(INHERITED, (parent, *facts), strict=True))


def _sources(row: Row) -> str | None:
    """Return JSON: the hash scheme, and the hash of the source of each component that the trial used, and of ablate."""
    hashes = row.get("sources")
    if not isinstance(hashes, Mapping):
        return None
    return json.dumps({"hashes": row.get("hashes"), "of": hashes}, sort_keys=True, default=str)


def _full_hashes(rows: Sequence[Row]) -> list[Row]:
    """Complete hashes of which a folder's name has only the start, from trials that have the whole."""
    full = {str(row.get("config_hash"))[:12]: str(row.get("config_hash")) for row in rows if row.get("choices")}
    return [{**row, "config_hash": full.get(str(row.get("config_hash"))[:12], row.get("config_hash"))} for row in rows]


def _paths(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(path for row in rows for path in row["choices"]))


def _frame(rows: Iterable[Row], columns: Sequence[str]) -> pd.DataFrame:
    records = list(rows)
    return pd.DataFrame({name: _typed(name, [row.get(name) for row in records]) for name in columns})


def _typed(name: str, values: list[Any]) -> pd.Series[Any]:
    kinds = set(map(type, values))
    if name not in _NUMBERS:
        plain = kinds <= {str, NoneType}  # as a rule
        return _text(values if plain else [None if v is None else str(v) for v in values])
    if kinds <= {int, float, NoneType}:  # as a rule
        integers = kinds == {int}
        return pd.Series(values, dtype="int64" if integers else "float64")
    numbers = [float("nan") if isinstance(v, bool) or not isinstance(v, int | float) else v for v in values]
    integers = bool(numbers) and all(isinstance(v, int) for v in numbers)
    return pd.Series(numbers, dtype="int64" if integers else "float64")


def _column(values: list[Any]) -> pd.Series[Any]:
    """Convert a choice's labels to one type: as they are where all agree, otherwise text."""
    labels = [json.dumps(v, sort_keys=True) if isinstance(v, dict | list) else _sound(v) for v in values]
    kinds = {type(v) for v in labels if not _missing(v)}
    if len(kinds) > 1 and kinds != {int, float}:
        return _text([None if _missing(v) else v if isinstance(v, str) else json.dumps(v) for v in labels])
    if kinds == {bool}:
        return pd.Series(labels, dtype="boolean" if None in labels else "bool")
    return pd.Series(labels) if kinds - {str} else _text(labels)


def _text(values: list[str | None]) -> pd.Series[Any]:
    """Make a column of text with None where it is missing; never the word 'None', whatever the version of pandas."""
    distinct = set(values)
    sound = {v: _sound(v) for v in distinct}
    if any(sound[v] != v for v in distinct):
        values = [sound[v] for v in values]
    return pd.Series(values) if distinct - {None} else pd.Series(values, dtype=object)


def _sound(value: Any) -> Any:
    """Make text valid in UTF-8: half of a surrogate pair, as JSON may bring it, becomes its escape."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
