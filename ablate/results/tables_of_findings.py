"""The tables that say what a study found as a whole, by name: for their descriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ablate.results.factors.reversals import reversals
from ablate.results.fronts.attainment import attainment
from ablate.results.fronts.membership import membership
from ablate.results.searches.common import common
from ablate.results.searches.expected import expected
from ablate.results.searches.importance import importance
from ablate.results.searches.marginals import marginals, slices
from ablate.results.searches.progress import progress

if TYPE_CHECKING:
    import pandas as pd

    from ablate.results.analysis import StudyAnalysis


def tables_of_findings(results: StudyAnalysis) -> list[tuple[str, Callable[[], pd.DataFrame]]]:
    """Return what computes each table; InputError where a study has it not."""
    found: list[tuple[str, Callable[[], pd.DataFrame]]] = [
        ("membership", lambda: membership(results)),
        ("attainment", lambda: attainment(results)),
        ("importance", lambda: importance(results, None, 1)),
        ("common", lambda: common(results)),
        ("progress", lambda: progress(results)),
    ]
    if (goal := results.quality) is not None:
        found += [
            ("expected", lambda: expected(results, goal)),
            ("marginals", lambda: marginals(results, goal)),
            ("slices", lambda: slices(results, goal)),
            ("reversals", lambda: reversals(results, goal)),
        ]
    return found
