"""The factors of a design and their levels, and what of its choices is none, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.names import show
from ablate.errors import InputError
from ablate.results.searches.marginals import is_number

CHOICE = "c."  # what the columns of choices begin with
MOST = 12  # levels of one factor: more are numbers of a range, of which each stands once


@dataclass(frozen=True)
class Factors:
    """The factors of a table of trials: {path: levels, the baseline's first}, and {path: why it is none}."""

    levels: Mapping[str, list[str]]
    left_out: Mapping[str, str]

    def codes(self, rows: pd.DataFrame) -> dict[str, NDArray[np.int64]]:
        """Return by path the number of each row's level."""
        codes = {}
        for path, found in self.levels.items():
            which, labels = pd.factorize(rows[CHOICE + path])
            codes[path] = np.array([found.index(show(label)) for label in labels], dtype=np.int64)[which]
        return codes


def factors(rows: pd.DataFrame, baseline: Mapping[str, Any]) -> Factors:
    """Find the factors: the choices that differ, and that every trial has. Raises InputError where there is none."""
    levels: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    for name in (str(c) for c in rows.columns if str(c).startswith(CHOICE)):
        path, there = name.removeprefix(CHOICE), rows[name].dropna()
        labels = list(dict.fromkeys(map(show, there.unique())))
        first = show(baseline[path]) if path in baseline else None
        if not labels:
            continue
        if rows[name].isna().any():
            left_out[path] = (
                f"{path} does not exist for every candidate, so its effect cannot be averaged over the others: compare "
                "candidates with effects(), or give a study that varies it under one choice alone"
            )
        elif len(labels) == 1:
            left_out[path] = f"{path} has one level in the complete trials, {labels[0]}"
        elif len(labels) > MOST and all(map(is_number, there.unique())):
            left_out[path] = f"{path} takes {len(labels)} different numbers, too many to be levels: see importance()"
        else:
            numbers = {show(label): float(label) if is_number(label) else 0.0 for label in there.unique()}
            levels[path] = sorted(labels, key=lambda label: (label != first, numbers[label], label))
    if not levels:
        why = next((text for text in left_out.values() if "one level" not in text), "")
        message = "no choice differs between complete trials, so there is no effect to tell"
        raise InputError(why or message, next(iter(left_out), "main_effects") if why else "main_effects")
    return Factors(levels, left_out)
