"""Sentences on the study as a whole, for below its table: how sure the front is, and what is worth a second look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ablate.errors import InputError
from ablate.results.fronts.hypervolumes import hypervolume_of
from ablate.results.numbers import number
from ablate.results.searches.confirmed import confirmed
from ablate.results.searches.expected import expected
from ablate.results.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd

    from ablate.results.analysis import StudyAnalysis

LUCK = 0.02  # of a value: luck that is worth a word


def remarks(results: StudyAnalysis, numbers: pd.DataFrame) -> list[str]:
    """Return the sentences, each a line. numbers: the table of results."""
    return [*_confirmed(results), *_lucky(results), *_unsure(numbers), *_hypervolume(results)]


def _confirmed(results: StudyAnalysis) -> Iterator[str]:
    """Tell what the best did on fresh seeds, by those alone."""
    if (fresh := confirmed(results)) is not None:
        yield f"confirmed on fresh seeds ({fresh.path}): {verdict(fresh)}"


def _lucky(results: StudyAnalysis) -> Iterator[str]:
    """Tell by how much the best of many was lucky, where that is known and notable."""
    goal = results.quality
    if goal is None or len(results.candidates) < 2:
        return
    try:
        table = expected(results, goal)
    except InputError:  # told in the verdict
        return
    table = table.dropna(subset=["expected"])
    if table.empty:
        return
    best = table.iloc[int((table["mean"] * goal.sign).argmin())]
    if abs(best["mean"] - best["expected"]) >= LUCK * abs(best["mean"]):
        yield (
            f"the best of {len(table)} was partly lucky: {goal.column} of {best['candidate']} is {number(best['mean'])}, "
            f"and expected to be {number(best['expected'], 3)} on fresh seeds "
            f"({number(best['low'], 3)} to {number(best['high'], 3)})"
        )


def _unsure(numbers: pd.DataFrame) -> Iterator[str]:
    """Say why it is not told how probably candidates are on the front."""
    if numbers.attrs["unsure"] and int(numbers["on_front"].sum()) and len(numbers) > 1:
        yield f"how sure the front is, is not told: {numbers.attrs['unsure']}"


def _hypervolume(results: StudyAnalysis) -> Iterator[str]:
    """Tell the hypervolume up to the study's own reference point: without one it compares with nothing."""
    if not results.lock.get("reference"):
        return
    try:
        found = hypervolume_of(results)
    except InputError as error:
        yield f"hypervolume: {error.message}"
        return
    if not found.fixed:
        return
    point = ", ".join(f"{_short(results, column)} {number(value)}" for column, value in found.reference.items())
    text = f"hypervolume up to {point}: {number(found.value)}"
    if found.note:
        yield f"{text}; its interval is not known: {found.note}"
    else:
        yield f"{text}, expected {number(found.expected)} ({number(found.low)} to {number(found.high)})"


def _short(results: StudyAnalysis, column: str) -> str:
    """Return what the study calls an objective."""
    return next((goal.name for goal in results.objectives() if goal.column == column), column)
