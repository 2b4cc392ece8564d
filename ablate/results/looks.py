"""What is shown where seeds were added while one looked: verdicts that allow for it, and who is on the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ablate.candidates.objectives import KNOWN_BEFOREHAND, Objective
from ablate.errors import InputError
from ablate.kinds.looks import Looks
from ablate.kinds.seeding import Race
from ablate.results.candidates import CandidateRow
from ablate.results.measurements import values

WORDS = {-1: "better", 0: "open", 1: "worse"}
MEMBERSHIP = {-1: "off", 0: "open", 1: "on"}


class Looked(NamedTuple):
    """The looks at a study's seeds."""

    rule: str  # the seeding that added seeds
    looks: Looks
    first_seed: int  # of all candidates; the others follow

    @property
    def seeds(self) -> range:
        """The seeds that are looked at, in order; what was run beyond them is in no test."""
        return range(self.first_seed, self.first_seed + self.looks.most)


def looked(lock: Mapping[str, Any]) -> Looked | None:
    """Return the looks that a study's lock names; None where all its candidates have the seeds of the design.

    Raises InputError where what it says of them is damaged: which p-values are valid is not known then.
    """
    entry = lock.get("seeding")
    if entry is None:
        return None
    try:
        looks = Looks(int(entry["first"]), int(entry["most"]), float(entry["alpha"]))
        return Looked(str(entry["rule"]), looks, int(entry["first_seed"]))
    except (KeyError, TypeError, ValueError):
        message = "what it says of the looks at seeds (seeding) is damaged: which p-values are valid is not known"
        raise InputError(message, "lock.json") from None


def describe_looks(found: Looked) -> str:
    """Return what is to be known of every p-value and interval of such a study."""
    looks = found.looks
    return (
        f"seeds were added while one looked ({found.rule}, {looks.first} to {looks.most} a candidate): p and intervals "
        "of effects are those of a paired t-test with alpha spending over all looks, and no fixed-sample test is valid"
    )


def race(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[CandidateRow],
    objectives: Sequence[Objective],
    found: Looked,
    violations: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Compute what is shown of each candidate at the study's looks, a row each.

    Columns: candidate, config_hash, n (seeds that are looked at), verdict (better, worse or open: than the baseline, in
    the first measured objective; missing of the baseline, and where one of its seeds diverged) and front (on, off or
    open: of all objectives). The chance of any wrong verdict is at most alpha, and so is that of any wrong front;
    constraints are taken at their means. `attrs`: metric, objectives, alpha, and `note`.
    """
    measured = sorted((o for o in objectives if o.column not in KNOWN_BEFOREHAND), key=lambda o: o.is_cost)
    known = [o for o in objectives if o.column in KNOWN_BEFOREHAND]
    frame, _ = values(trials, metrics, objectives)
    diverged = set(frame.loc[frame["state"] == "diverged", "config_hash"])
    quality = np.full((len(candidates), len(found.seeds), len(measured)), np.nan)
    cost = np.full((len(candidates), len(known)), np.nan)
    base = None
    for i, candidate in enumerate(candidates):
        rows = frame[frame["config_hash"] == candidate.config_hash]
        for j, objective in enumerate(known):
            cost[i, j] = objective.sign * rows[objective.column].astype(float).min()  # the same for all seeds
        complete = rows[rows["state"] == "complete"].drop_duplicates("seed").set_index("seed")
        for k, objective in enumerate(measured):
            quality[i, :, k] = objective.sign * complete[objective.column].reindex(found.seeds).to_numpy(dtype=float)
        if candidate.baseline and candidate.config_hash not in diverged:
            base = i
    broken = {config_hash for config_hash, why in (violations or {}).items() if why}
    nobody = np.zeros(len(candidates), dtype=bool)
    contends = np.array([c.config_hash not in diverged | broken for c in candidates], dtype=bool)
    shown = Race(found.looks, np.arange(len(candidates)), quality, cost, base, contends, nobody, nobody)
    verdicts = [None if base in (None, i) else WORDS[int(sign)] for i, sign in enumerate(shown.verdicts)]
    table = pd.DataFrame(
        {
            "candidate": [c.label for c in candidates],
            "config_hash": [c.config_hash for c in candidates],
            "n": shown.seeds,
            "verdict": verdicts,
            "front": [MEMBERSHIP[int(sign)] for sign in shown.on_front],
        }
    )
    table.attrs.update(
        metric=measured[0].column if measured else None,
        objectives=[objective.column for objective in objectives],
        alpha=found.looks.alpha,
        note=describe_looks(found),
    )
    return table
