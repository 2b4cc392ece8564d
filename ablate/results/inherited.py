"""Candidates that began with the weights of another one of their search: they had more training than their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ablate.errors import Argument, InputError

if TYPE_CHECKING:
    import pandas as pd

    from ablate.results.candidates import CandidateRow

Starts = Literal["fresh", "inherited", "all"]
COLUMN = "inherited_from"
BEGINS = "inherited from "  # the reason why one is on no front with those that began anew


def inherited(trials: pd.DataFrame) -> dict[str, str]:
    """Return {config_hash: start of its parent's} of candidates that began with weights of another one."""
    if COLUMN not in trials:
        return {}
    rows = trials[trials[COLUMN].notna()]
    parents = rows[COLUMN].astype(str).str.partition("-")[0]
    return dict(zip(rows["config_hash"].astype(str), parents, strict=True))


def apart(trials: pd.DataFrame, starts: Starts) -> dict[str, str]:
    """Return {config_hash: why} of candidates that are on no front of those with such starts.

    fresh: candidates whose training began anew; inherited: the others; all: both on one front. Raises InputError for
    another word.
    """
    if starts not in ("fresh", "inherited", "all"):
        raise InputError(f"the starts are fresh, inherited and all, not {starts!r}", Argument("starts"))
    known = inherited(trials)
    if starts == "all" or not known:
        return {}
    if starts == "fresh":
        return {config_hash: f"{BEGINS}{parent}" for config_hash, parent in known.items()}
    others = set(trials["config_hash"].dropna().astype(str)) - set(known)
    return dict.fromkeys(sorted(others), "began anew")


def alike(candidates: Sequence[CandidateRow], against: CandidateRow, trials: pd.DataFrame) -> list[CandidateRow]:
    """Return the candidates that began as one of them did: anew, or with inherited weights."""
    known = inherited(trials)
    return [c for c in candidates if (c.config_hash in known) == (against.config_hash in known)]


def check(trials: pd.DataFrame) -> None:
    """Raise InputError where candidates that inherited weights would be compared with others, choice by choice."""
    if known := inherited(trials):
        raise InputError(
            f"{len(known)} candidates began with the weights of a parent, and had its training beside their own: what "
            "a choice does is not told from what more training does. Confirm the best ones, which trains them anew "
            "(--confirm), or compare candidates of a design that does not inherit"
        )


def describe(trials: pd.DataFrame) -> str:
    """Say in a sentence how many candidates inherited weights, and what that means; '' where none did."""
    known = inherited(trials)
    if not known:
        return ""
    of = trials["config_hash"].nunique()
    who = "1 candidate began" if len(known) == 1 else f"{len(known)} candidates began"
    return (
        f"{who} with the weights of a parent, of {of}: their values are not of their own training alone "
        "(ancestors_train_gflops), and they are on no front with the others"
    )
