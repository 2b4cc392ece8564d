"""Main effects and two-factor interactions of a factorial design, by a mixed model over all trials at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ablate.candidates.objectives import Objective
from ablate.errors import InputError
from ablate.results.effects import ALPHA
from ablate.results.factors.levels import Factors, factors
from ablate.results.factors.mixed import Fit, fit
from ablate.results.factors.model import Array, Codes, Contrast, Model, Pairs, estimable
from ablate.results.inherited import check as check_starts
from ablate.results.measurements import values
from ablate.statistics.correction import holm

COLUMNS = ("effect", "factor", "difference", "low", "high", "p", "n", "note")


@dataclass(frozen=True)
class Factorial:
    """A fitted factorial design."""

    factors: Factors
    model: Model
    codes: Codes
    matrix: Array  # (trials, columns) of the model, then a column a seed
    fit: Fit

    def tells(self, *weights: Array) -> list[bool]:
        """Return which combinations of the model's columns the trials tell, whatever the seeds did."""
        seeds = self.matrix.shape[1] - self.model.size
        # A constant of its own beside a column a seed says nothing: a mean is that over the seeds.
        padded = [np.concatenate([one, np.full(seeds, one[0] / seeds)]) for one in weights]
        return estimable(self.matrix, padded)


def factorial(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    objective: Objective,
    baseline: Mapping[str, Any],
    pairs: Pairs = (),
    where: Mapping[str, Any] | None = None,
) -> tuple[Factorial, pd.DataFrame]:
    """Fit the model to the complete trials; return it with all trials and their values.

    Raises InputError where trials were measured in different ways, where no choice is a factor, and where some
    inherited weights.
    """
    check_starts(trials)
    frame, _ = values(trials, metrics, [objective], where)
    finite = np.isfinite(frame[objective.column].to_numpy(dtype=float))
    rows = frame[(frame["state"] == "complete") & finite].reset_index(drop=True)
    found = factors(rows, baseline)
    for path in (path for pair in pairs if pairs != "all" for path in pair):
        if path in found.left_out:
            raise InputError(found.left_out[path], "pairs")
    model, codes = Model.of(found.levels, pairs), found.codes(rows)
    matrix, seeds = model.matrix(codes), rows["seed"].to_numpy()
    seed_columns = (seeds[:, None] == np.unique(seeds)).astype(float)
    cells = pd.DataFrame(codes).drop_duplicates()
    complete = len(cells) == math.prod(len(levels) for levels in found.levels.values())
    y = rows[objective.column].to_numpy(dtype=float)
    fitted = fit(y, matrix, seeds, rows["config_hash"].to_numpy(), complete)
    return Factorial(found, model, codes, np.hstack([matrix, seed_columns]), fitted), frame


def main_effects(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    objective: Objective,
    baseline: Mapping[str, Any],
    pairs: Pairs = (),
    where: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Estimate main effects, and interactions of chosen pairs of factors, from the complete trials.

    The model: value = main effects + interactions of the pairs + seed + noise, the seed a random effect; whatever else
    there is counts as noise (`ablate.results.factors.mixed`). A main effect is the change from the baseline's level to
    another one, averaged over the levels of the factors that it is paired with. An interaction is by how much the
    change of one factor differs under the other one's: (ab) − (a) − (b) + (1).

    Columns: effect, factor (a path, or two with × between them), difference, low and high (95 % intervals by Student's
    t), p, p_holm (Holm 1979, over all rows), n (trials with the level, or both levels), note (why an effect is missing:
    these candidates, or their seeds, cannot tell it from another). Main effects first, in the order of the factors.
    `attrs`: metric, alpha, degrees (of freedom of the noise), model (in words), additive (p that choices add up),
    left_out ({path: why it is no factor}), and note.

    Raises InputError where trials were measured in different ways, where no choice is a factor, and where no effect
    can be told.
    """
    found, frame = factorial(trials, metrics, objective, baseline, pairs, where)
    contrasts = list(found.model.contrasts())
    told = found.tells(*(one.weights for one in contrasts))
    untold = list(dict.fromkeys(one.factor for one, is_told in zip(contrasts, told, strict=True) if not is_told))
    if not any(told):
        raise InputError(_mixed_up(untold, untold[0]), "main_effects")
    rows = [
        _row(one, found, "" if is_told else _mixed_up(untold, one.factor))
        for one, is_told in zip(contrasts, told, strict=True)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.insert(6, "p_holm", holm(table["p"].to_numpy(dtype=float)))
    complete = frame[frame["state"] == "complete"]
    table.attrs.update(
        metric=objective.column,
        alpha=ALPHA,
        degrees=found.fit.degrees,
        model=found.fit.about,
        additive=found.fit.lack,
        left_out=dict(found.factors.left_out),
        note="; ".join(_notes(frame, complete, found, untold)),
    )
    return table


def _notes(frame: pd.DataFrame, complete: pd.DataFrame, found: Factorial, untold: list[str]) -> list[str]:
    notes = []
    lost = int((frame["state"] == "diverged").sum())
    if lost:
        notes.append(f"{lost} diverged and left out, which favours what made them diverge")
    if not found.fit.degrees:
        notes.append("there are as many effects as trials: nothing is left to tell noise by; add seeds")
    if untold:
        notes.append(_mixed_up(untold, untold[0]))
    seeds: dict[Any, list[Any]] = {}
    for config_hash, seed in zip(complete["config_hash"].tolist(), complete["seed"].tolist(), strict=True):
        seeds.setdefault(config_hash, []).append(seed)
    if len({tuple(sorted(own)) for own in seeds.values()}) > 1:
        counts = list(map(len, seeds.values()))
        text = f"candidates have other seeds ({min(counts)} to {max(counts)} each)"
        notes.append(f"{text}: what a seed does is estimated, not taken out")
    return [*notes, *found.factors.left_out.values()]


def _mixed_up(untold: list[str], factor: str) -> str:
    """Say what an effect is mixed up with, and what to do."""
    others = [name for name in untold if name != factor] or ["something else"]
    told = f"{', '.join(others[:-1])} and {others[-1]}" if len(others) > 1 else others[0]
    return (
        f"these candidates cannot tell the effect of {factor} from that of {told}: ask for fewer pairs, give all the "
        "same seeds, or take a design that lists them ('design: {type: fractional, pairs: ...}', or grid)"
    )


def _row(contrast: Contrast, found: Factorial, note: str) -> dict[str, Any]:
    from scipy.special import stdtr, stdtrit  # scipy.stats has them too, and takes a second to import

    fitted = found.fit
    difference, error = (math.nan, math.nan) if note else fitted.estimate(contrast.weights)
    half = float(stdtrit(fitted.degrees, 1 - ALPHA / 2)) * error if fitted.degrees else math.nan
    p = 2 * float(stdtr(fitted.degrees, -abs(difference) / error)) if fitted.degrees and error > 0 else math.nan
    has = np.logical_and.reduce([found.codes[path] == level for path, level in contrast.changes])
    return {
        "effect": found.model.name(contrast.changes),
        "factor": contrast.factor,
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "p": p,
        "n": int(has.sum()),
        "note": note,
    }
