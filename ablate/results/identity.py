"""Duplicate measurements: two are the same where every field that decides a value is equal."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

IDENTITY = ("trial", "images", "metric")  # beside what decides a value
ROUNDING = 1e-6  # relative: between two devices a value may differ by as much


def distinct(measured: pd.DataFrame, decides: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """Remove duplicate measurements, the first stays; return them, and a warning for each with several values."""
    keys = [name for name in (*IDENTITY, *decides) if name in measured]
    repeated = measured.duplicated(keys, keep=False)
    if not repeated.any():
        return measured, []
    warnings = []
    for _, rows in measured[repeated].groupby(keys, dropna=False, sort=False, observed=True):
        values = rows["value"].dropna()
        if len(values) not in (0, len(rows)) or (
            len(values) and values.max() - values.min() > ROUNDING * values.abs().max()
        ):
            texts = ", ".join(f"{value:.6g}" for value in rows["value"])
            row = rows.iloc[0]
            setting = f"{row['ema']}, {row['nfe']:g} evaluations of {row['solver']}, {row['guidance']}"
            note = "though all that is known to decide it is the same; the first counts"
            warnings.append(f"trial {row['trial']}: {row['metric']} ({setting}) has the values {texts}, {note}")
    return measured.drop_duplicates(keys).reset_index(drop=True), warnings


def differing_settings(settings: Iterable[str | None]) -> dict[str, str]:
    """Return {settings of a solver: those of its fields that differ}, such as `grid=karras, rho=7.0`."""
    texts = list(dict.fromkeys(text for text in settings if isinstance(text, str)))
    fields = {text: text.split(", ") for text in texts}
    common = set.intersection(*map(set, fields.values())) if len(texts) > 1 else set()
    return {text: ", ".join(field for field in parts if field not in common) for text, parts in fields.items()}
