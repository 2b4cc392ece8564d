"""What makes two measurements the same: every field that decides a value. Each is read once."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

IDENTITY = ("trial", "images", "metric")  # beside what decides a value
ROUNDING = 1e-6  # relative: between two devices a value may differ by as much


def distinct(measured: pd.DataFrame, decides: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """The measurements, each once, the first of several; and a line for each that has several values."""
    keys = [name for name in (*IDENTITY, *decides) if name in measured]
    repeated = measured.duplicated(keys, keep=False)
    if not repeated.any():
        return measured, []
    warnings = []
    for _, rows in measured[repeated].groupby(keys, dropna=False, sort=False):
        known = rows["value"].dropna()
        if len(known) not in (0, len(rows)) or (
            len(known) and known.max() - known.min() > ROUNDING * known.abs().max()
        ):
            values = ", ".join(f"{value:.6g}" for value in rows["value"])
            row = rows.iloc[0]
            taken = f"{row['ema']}, {row['nfe']:g} evaluations of {row['solver']}, {row['guidance']}"
            told = "though all that is known to decide it is the same; the first counts"
            warnings.append(f"trial {row['trial']}: {row['metric']} ({taken}) has the values {values}, {told}")
    return measured.drop_duplicates(keys).reset_index(drop=True), warnings


def told_apart(settings: Iterable[str | None]) -> dict[str, str]:
    """{settings of a solver: those of its fields in which they differ}, as in `grid=karras, rho=7.0`."""
    texts = list(dict.fromkeys(text for text in settings if isinstance(text, str)))
    fields = {text: text.split(", ") for text in texts}
    common = set.intersection(*map(set, fields.values())) if len(texts) > 1 else set()
    return {text: ", ".join(field for field in held if field not in common) for text, held in fields.items()}
