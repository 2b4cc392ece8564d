"""Main effects as lines of text, for below the table of results."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ablate.errors import InputError
from ablate.results.factors.main_effects import main_effects
from ablate.results.numbers import probability, signed
from ablate.results.searches.space import several_factors

if TYPE_CHECKING:
    import pandas as pd

    from ablate.results.analysis import StudyAnalysis

MOST = 8  # effects that are told
MOST_LEFT_OUT = 3  # choices whose absence is told


def main_effect_lines(results: StudyAnalysis) -> Iterator[str]:
    """Yield what each choice does over all candidates, where they differ in several choices at once.

    Only where there are more candidates than effects: else each effect rests on one candidate, and its comparison with
    the baseline says the same.
    """
    goal = results.quality
    if goal is None or not several_factors(results.candidates):
        return
    try:
        table = main_effects(results.trials, results.metrics, goal, results.baseline_labels)
    except InputError:  # values that do not compare, or no factor
        return
    candidates = results.trials.loc[results.trials["state"] == "complete", "config_hash"].nunique()
    if table["factor"].nunique() < 2 or candidates <= len(table) + 1 or not table.attrs["degrees"]:
        return
    about = f"{table.attrs['model']}, {table.attrs['degrees']} degrees of freedom"
    yield f"main effects on {goal.column}: changes from the baseline's choices, averaged over the others ({about})"
    yield from _rows(table)
    left_out = list(table.attrs["left_out"].values())
    if 0 <= table.attrs["additive"] < table.attrs["alpha"]:
        others = "others" if not left_out else "others, or on what is left out"
        yield (
            f"  choices do not add up (p {probability(table.attrs['additive'])}): what one does depends on {others}; "
            'see main_effects(pairs="all") and the figure interactions'
        )
    for why in left_out[:MOST_LEFT_OUT]:
        yield f"  left out: {why.partition(':')[0]}"
    if len(left_out) > MOST_LEFT_OUT:
        yield f"  left out: {len(left_out) - MOST_LEFT_OUT} more choices"


def _rows(table: pd.DataFrame) -> Iterator[str]:
    """Yield a line an effect, the surest ones, in the order of the factors."""
    told = table[table["difference"].notna()]
    shown = told.sort_values("p", kind="stable").head(MOST).sort_index()
    width = max(map(len, shown["effect"]), default=0)
    for _, row in shown.iterrows():
        interval = "" if math.isnan(row["low"]) else f" ({signed(row['low'])} to {signed(row['high'])})"
        yield f"  {row['effect']:<{width}}  {signed(row['difference'])}{interval}, Holm p {probability(row['p_holm'])}"
    untold = len(table) - len(told)
    more = [f"{len(told) - len(shown)} more"] if len(told) > len(shown) else []
    more += [f"{untold} that these candidates cannot tell"] if untold else []
    if more:
        yield f"  and {' and '.join(more)}: main_effects()"
