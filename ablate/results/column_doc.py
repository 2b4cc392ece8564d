"""Description of a column of a result table, and those that several tables share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["smaller", "larger", "as the metric", "as the probe", "as the objective", ""]


@dataclass(frozen=True)
class ColumnDoc:
    """Describe a column: what it means, its unit ("" without one), and which direction is better ("" for neither)."""

    meaning: str
    unit: str = ""
    better: Better = ""


CANDIDATE = ColumnDoc("the candidate's name: what it chooses, as short as the study's other candidates allow")
HASH = ColumnDoc("SHA-256 of everything that decides the result, except the seed: equal for all trials of a candidate")
CHOICE = ColumnDoc("what the candidate chose at this path of the study file; missing where it has no such path")
