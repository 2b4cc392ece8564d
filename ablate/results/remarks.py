"""Sentences on the study as a whole, for below its table: how sure the front is, and what is worth a second look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ablate.errors import InputError
from ablate.results.effects import ALPHA
from ablate.results.factors.lines import main_effect_lines
from ablate.results.factors.reversals import BUDGET, reversals
from ablate.results.fronts.hypervolumes import hypervolume_of
from ablate.results.fronts.probable import FEWEST
from ablate.results.numbers import number, probability
from ablate.results.searches.common import common
from ablate.results.searches.confirmed import confirmed
from ablate.results.searches.expected import expected
from ablate.results.searches.importance import importance
from ablate.results.searches.ranked import FRONT
from ablate.results.searches.space import several_factors
from ablate.results.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd

    from ablate.results.analysis import StudyAnalysis

LUCK = 0.02  # of a value: luck that is worth a word
COMPARED = 200  # candidates up to which it is looked whether ranks reverse: of more it takes seconds
MOST_REVERSALS, PLACES = 3, ("first", "second")
MOST = 5  # choices that a line names
MANY, FEW = 16, 3  # candidates, and members of the front, from which on what these have in common is worth a word


def remarks(results: StudyAnalysis, numbers: pd.DataFrame) -> list[str]:
    """Return the sentences, each a line. numbers: the table of results."""
    return [
        *_confirmed(results),
        *_lucky(results),
        *main_effect_lines(results),
        *_reversals(results),
        *_unsure(numbers),
        *_in_common(results, numbers),
        *_hypervolume(results),
    ]


def _reversals(results: StudyAnalysis) -> Iterator[str]:
    """Tell where ranks reverse beyond chance."""
    goal = results.quality
    if goal is None or not 1 < len(results.candidates) <= COMPARED:
        return
    try:
        table = reversals(results, goal)
    except InputError:  # told already
        return
    told = table[table["p_holm"] < ALPHA]
    first = ~told[["between", "one", "other"]].duplicated()  # the surest of several budgets
    for _, row in told[first].head(MOST_REVERSALS).iterrows():
        better, worse = (row["one"], row["other"])
        if row["difference_second"] * goal.sign > 0:
            better, worse = worse, better
        places = [
            f"{number(row[k])} images" if row["between"] == BUDGET else f"{row['between']}={row[k]}" for k in PLACES
        ]
        yield (
            f"ranks reverse: {better} is worse than {worse} at {places[0]}, and better at {places[1]} "
            f"(Holm p {probability(row['p_holm'])})"
        )


def explanations(results: StudyAnalysis) -> list[str]:
    """Return what explains a search and takes a second or more to compute: how much each choice matters.

    For the end of a run, and for the report.
    """
    if results.quality is None or not several_factors(results.candidates):
        return []
    lines = []
    for of in (results.quality.column, *([FRONT] if len(results.objectives()) > 1 else [])):
        try:
            lines.append(_important(importance(results, of)))
        except InputError:  # too few candidates, or values that do not compare
            continue
    return lines


def _important(table: pd.DataFrame) -> str:
    """Tell how much each choice matters, the first ones."""
    told = [
        f"{row['path']} {row['importance']:.2f} ({row['low']:.2f} to {row['high']:.2f}, p {probability(row['p'])})"
        for _, row in table[table["p"] < ALPHA].head(MOST).iterrows()
    ]
    rest = table[table["p"] >= ALPHA]
    others = [f"{row['path']} {row['importance']:.2f}" for _, row in rest.head(MOST).iterrows()]
    others += [f"{len(rest) - MOST} more"] if len(rest) > MOST else []
    parts = [", ".join(told) or "no choice is told from chance"]
    parts += [f"{'not told from chance: ' if told else ''}{', '.join(others)}"] if others else []
    return f"importance for {table.attrs['of']}: {'; '.join(parts)}"


def _in_common(results: StudyAnalysis, numbers: pd.DataFrame) -> Iterator[str]:
    """Tell what the front's members have in common, as far as chance does not explain it."""
    if len(numbers) < MANY or numbers["on_front"].sum() < FEW or not several_factors(results.candidates):
        return
    try:
        table = common(results)
    except InputError:  # told already
        return
    told = table[table["p_holm"] < ALPHA].head(MOST)
    front, others = table.attrs["members"], table.attrs["candidates"] - table.attrs["members"]
    if told.empty:
        yield f"the {front} on the front have no choice in common, beside the {others} others, that is told from chance"
        return
    parts = [
        f"{row['path']}={row['choice']} ({row['front']} of {row['of_front']}, of the others {row['others']} of "
        f"{row['of_others']})"
        for _, row in told.iterrows()
    ]
    yield f"the {front} on the front have in common: {', '.join(parts)}"


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
    if len(table) < FEWEST:  # they are not drawn towards one another
        return
    best = table.iloc[int((table["mean"] * goal.sign).argmin())]
    if (best["expected"] - best["mean"]) * goal.sign >= LUCK * abs(best["mean"]):
        mean, there = (number(float(best[name]), 3) for name in ("mean", "expected"))
        yield (
            f"the best of {len(table)} was partly lucky: {goal.column} of {best['candidate']} is {mean}, and expected "
            f"to be {there} on fresh seeds"
        )


def _unsure(numbers: pd.DataFrame) -> Iterator[str]:
    """Say why it is not told how probably candidates are on the front."""
    if numbers.attrs["unsure"] and int(numbers["on_front"].sum()) and len(numbers) > 1:
        yield f"no probability of being on the front: {numbers.attrs['unsure']}"


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
