"""What the members of a front have in common, which the other candidates have not."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from ablate.results.fronts.membership import contends
from ablate.results.searches.marginals import groups, varied
from ablate.statistics.correction import holm

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

COLUMNS = ("path", "choice", "front", "of_front", "others", "of_others", "p", "p_holm")


def common(results: StudyAnalysis) -> pd.DataFrame:
    """Compare the front's members with the other candidates, choice by choice: `StudyFindings.common`."""
    table = results.front()
    table = table[contends(table)]
    members, valued = set(table.loc[table["on_front"], "config_hash"]), set(table["config_hash"])
    candidates = [c for c in results.candidates if c.config_hash in valued]
    rows = []
    for path in varied(candidates):
        there = [c for c in candidates if path in c.choices]
        labels = groups([c.choices[path] for c in there])
        every = Counter(labels)
        of_members = Counter(label for label, c in zip(labels, there, strict=True) if c.config_hash in members)
        on = of_members.total()
        for choice, count in every.items():
            front = of_members[choice]
            p = _more_than_by_chance(front, on, count, len(there))
            rows.append((path, choice, front, on, count - front, len(there) - on, p))
    told = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    told["p_holm"] = holm(told["p"].to_numpy(dtype=float))
    share = told["front"] / told["of_front"].where(told["of_front"] > 0)
    told = told.iloc[share.fillna(-1).mul(-1).argsort(kind="stable")].sort_values("p", kind="stable")
    told = told.reset_index(drop=True)
    told.attrs.update(objectives=table.attrs["objectives"], members=len(members), candidates=len(candidates))
    return told


def _more_than_by_chance(front: int, of_front: int, chosen: int, candidates: int) -> float:
    """Return how probably a front of so many has as many with a choice, or more, by chance (Fisher's exact test)."""
    whole = math.comb(candidates, of_front)
    most = min(of_front, chosen)
    ways = (math.comb(chosen, k) * math.comb(candidates - chosen, of_front - k) for k in range(front, most + 1))
    return sum(ways) / whole
