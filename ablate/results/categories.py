"""Columns of few words as categoricals: a tenth of the memory, and sorted and grouped in the study's own order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

# Columns whose values are few and known; with them all choices, `c.<path>`.
WORDS = frozenset(
    (
        *("candidate", "state", "device", "failure", "metric", "features", "solver", "solver_settings", "ema"),
        *("guidance", "quantisation", "labels", "reference", "probe"),
    )
)


def with_categories(frame: pd.DataFrame, orders: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return the table with its columns of words as categoricals, whose categories are the words that it holds.

    orders: of words, by column: they come first, in that order, and the others behind them by the alphabet. A choice of
    numbers or switches stays as it is. No category is empty, so that grouping makes no group without rows.
    """
    new = {name: made for name in frame.columns if (made := _made(frame[name], name, orders)) is not None}
    attrs = frame.attrs
    changed = frame.assign(**new) if new else frame
    changed.attrs = attrs
    return changed


def _made(column: Any, name: object, orders: Mapping[str, Sequence[Any]]) -> pd.Series[Any] | None:
    if not (isinstance(name, str) and (name in WORDS or name.startswith("c."))) or not isinstance(column, pd.Series):
        return None
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_numeric_dtype(column.dtype):
        return None  # bool is numeric here
    values = column.tolist()
    distinct = set(values)
    held = {value for value in distinct if isinstance(value, str)}
    if not held or not all(value in held or pd.isna(value) for value in distinct):
        return None
    words = _ordered(held, orders.get(name, ()))
    places = {word: i for i, word in enumerate(words)}
    return pd.Series(
        pd.Categorical.from_codes([places.get(value, -1) for value in values], pd.Index(words)), column.index
    )


def _ordered(held: Iterable[str], first: Sequence[Any]) -> list[str]:
    words = set(held)
    known = [str(word) for word in dict.fromkeys(first) if str(word) in words]
    return [*known, *sorted(words - set(known))]
