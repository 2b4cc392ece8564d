"""Main effects and two-factor interactions of a factorial design, by least squares over all candidates at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.names import show
from ablate.candidates.objectives import Objective
from ablate.errors import InputError, did_you_mean
from ablate.results.effects import ALPHA
from ablate.results.measurements import values
from ablate.statistics.correction import holm

Pairs = Literal["all"] | Sequence[tuple[str, str]]
Array = NDArray[np.float64]

CHOICE = "c."  # what the columns of choices begin with
ESTIMABLE = 1e-8  # how far a contrast may lie outside what the rows span


@dataclass(frozen=True)
class Contrast:
    """A question to the model: the change of one factor, or the change that one makes to the change of another."""

    changes: tuple[tuple[str, int], ...]  # (path, number of the level), of one factor or two
    weights: Array  # (columns,) of the model matrix

    @property
    def factor(self) -> str:
        """The path that changes, or the two."""
        return " × ".join(path for path, _ in self.changes)


def main_effects(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    objective: Objective,
    baseline: Mapping[str, Any],
    pairs: Pairs = (),
    where: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Estimate main effects, and interactions of chosen pairs of factors, from the complete trials.

    The model: value = seed + main effects + interactions of the pairs; whatever else there is counts as noise. A main
    effect is the change from the baseline's level to another one, averaged over the levels of the factors that it is
    paired with. An interaction is by how much the change of one factor differs under the other one's: (ab) − (a) − (b)
    + (1).

    Columns: effect, factor (a path, or two with × between them), difference, low and high (95 % intervals by Student's
    t), p, p_holm (Holm 1979, over all rows), n (trials with the level, or both levels). Main effects first, in the
    order of the factors. `attrs`: metric, alpha, degrees (of freedom of the noise), and note.

    Raises InputError where trials were measured in different ways, where a factor does not exist for every candidate,
    and, with the effects that are mixed up, where these candidates cannot tell an effect from others.
    """
    frame, _ = values(trials, metrics, [objective], where)
    column = objective.column
    finite = np.isfinite(frame[column].to_numpy(dtype=float))
    rows = frame[(frame["state"] == "complete") & finite].reset_index(drop=True)
    levels = _levels(rows, baseline)
    wanted = _pairs(pairs, list(levels))
    codes = {path: rows[CHOICE + path].map(show).map(found.index).to_numpy() for path, found in levels.items()}
    matrix, terms = _model(rows["seed"].to_numpy(), codes, levels, wanted)
    contrasts = list(_contrasts(levels, wanted, terms, matrix.shape[1]))
    _check(matrix, contrasts)
    y = rows[column].to_numpy(dtype=float)
    inverse: Array = np.linalg.pinv(matrix.T @ matrix).astype(float)
    solution = inverse @ matrix.T @ y
    degrees = len(y) - int(np.linalg.matrix_rank(matrix))
    noise = float(((y - matrix @ solution) ** 2).sum()) / degrees if degrees else math.nan
    found = [_row(one, codes, levels, solution, inverse, noise, degrees) for one in contrasts]
    table = pd.DataFrame(found, columns=["effect", "factor", "difference", "low", "high", "p", "n"])
    table.insert(6, "p_holm", holm(table["p"].to_numpy(dtype=float)))
    lost = int((frame["state"] == "diverged").sum())
    notes = [f"{lost} diverged and left out, which favours what made them diverge"] if lost else []
    if not degrees:
        notes.append("there are as many effects as trials: nothing is left to tell noise by; add seeds")
    table.attrs.update(metric=column, alpha=ALPHA, degrees=degrees, note="; ".join(notes))
    return table


def _levels(rows: pd.DataFrame, baseline: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the levels of each factor that varies, the baseline's first. Raises InputError for a conditional one."""
    levels = {}
    for name in (str(c) for c in rows.columns if str(c).startswith(CHOICE)):
        path = name.removeprefix(CHOICE)
        labels = list(dict.fromkeys(rows[name].dropna().map(show)))
        if rows[name].isna().any() and labels:
            raise InputError(
                f"{path} does not exist for every candidate, so its effect cannot be averaged over the others: compare "
                "candidates with effects(), or give a study that varies it under one choice alone",
                path,
            )
        first = show(baseline[path]) if path in baseline else None
        if len(labels) > 1:
            levels[path] = sorted(labels, key=lambda label: label != first)
    if not levels:
        raise InputError("no choice differs between complete trials, so there is no effect to tell", "main_effects")
    return levels


def _pairs(pairs: Pairs, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of factors in the order of the factors. Raises InputError for a path that is no factor."""
    if pairs == "all":
        return list(itertools.combinations(paths, 2))
    chosen: dict[tuple[str, str], None] = {}
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
            raise InputError(f"expected 'all', or pairs of two paths as [(path, path), ...], not {pair!r}", "pairs")
        for path in pair:
            if path not in paths:
                raise InputError(
                    f"no factor is {path!r}{did_you_mean(path, paths)}; there is {', '.join(paths)}", "pairs"
                )
        a, b = sorted(pair, key=paths.index)
        chosen[a, b] = None
    return list(chosen)


Terms = dict[tuple[tuple[str, int], ...], int]  # {((path, level), ...): column}


def _model(
    seeds: NDArray[Any],
    codes: Mapping[str, NDArray[np.int64]],
    levels: Mapping[str, Sequence[str]],
    pairs: Sequence[tuple[str, str]],
) -> tuple[Array, Terms]:
    """Return the model matrix (trials, columns): a column a seed, a change, and two changes at once."""
    columns = [(seeds == seed).astype(float) for seed in np.unique(seeds)]
    terms: Terms = {}
    changes = {(path, i): (codes[path] == i).astype(float) for path in levels for i in range(1, len(levels[path]))}
    for change, column in changes.items():
        terms[(change,)] = len(columns)
        columns.append(column)
    for a, b in pairs:
        for one, two in itertools.product(*([c for c in changes if c[0] == path] for path in (a, b))):
            terms[one, two] = len(columns)
            columns.append(changes[one] * changes[two])
    return np.column_stack(columns), terms


def _contrasts(
    levels: Mapping[str, Sequence[str]], pairs: Sequence[tuple[str, str]], terms: Terms, size: int
) -> Iterator[Contrast]:
    for term, column in terms.items():
        weights = np.zeros(size)
        weights[column] = 1.0
        if len(term) == 1:  # averaged over the levels of what it is paired with
            ((path, _),) = term
            for other in (b if path == a else a for a, b in pairs if path in (a, b)):
                for both, place in terms.items():
                    if len(both) == 2 and term[0] in both and other in (both[0][0], both[1][0]):
                        weights[place] = 1.0 / len(levels[other])
        yield Contrast(term, weights)


def _check(matrix: Array, contrasts: Sequence[Contrast]) -> None:
    """Raise InputError where the rows do not tell a contrast from others; it names those that it is mixed up with."""
    spanned = np.linalg.pinv(matrix) @ matrix
    outside = [one for one in contrasts if np.abs(one.weights @ spanned - one.weights).max() > ESTIMABLE]
    if not outside:
        return
    names = list(dict.fromkeys(one.factor for one in outside))
    told = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"{names[0]} and what else is asked for"
    raise InputError(
        f"these candidates cannot tell the effects of {told} from one another: ask for fewer pairs, or take a design "
        "that lists them ('design: {type: fractional, pairs: ...}', or grid)",
        "main_effects",
    )


def _row(
    contrast: Contrast,
    codes: Mapping[str, NDArray[np.int64]],
    levels: Mapping[str, Sequence[str]],
    solution: Array,
    inverse: Array,
    noise: float,
    degrees: int,
) -> dict[str, Any]:
    from scipy.special import stdtr, stdtrit  # scipy.stats has them too, and takes a second to import

    difference = float(contrast.weights @ solution)
    error = math.sqrt(max(noise * float(contrast.weights @ inverse @ contrast.weights), 0.0)) if degrees else math.nan
    half = float(stdtrit(degrees, 1 - ALPHA / 2)) * error if degrees else math.nan
    p = 2 * float(stdtr(degrees, -abs(difference) / error)) if degrees and error > 0 else math.nan
    has = np.logical_and.reduce([codes[path] == level for path, level in contrast.changes])
    return {
        "effect": " × ".join(f"{path}={levels[path][level]}" for path, level in contrast.changes),
        "factor": contrast.factor,
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "p": p,
        "n": int(has.sum()),
    }
