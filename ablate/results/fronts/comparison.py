"""The fronts of two studies, compared: where their values mean the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.candidates.objectives import KNOWN_BEFOREHAND, STATIC, Objective
from ablate.errors import Argument, InputError
from ablate.results import origins
from ablate.results.frames import stacked
from ablate.results.front import hypervolume, nondominated, refusal
from ablate.results.fronts.drawn_fronts import DrawnFronts
from ablate.results.fronts.hypervolumes import DRAWN
from ablate.results.fronts.membership import drawn_fronts
from ablate.results.fronts.probable import is_logarithmic
from ablate.results.fronts.spread import NoSpreadError
from ablate.results.fronts.two_way import Array, by_seed, two_way
from ablate.results.measurements import DECIDES, NOT_RECORDED, values

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

MARGIN = 0.1  # of the range of both fronts, by which their common reference point lies beyond them


@dataclass(frozen=True)
class Comparison:
    """Two fronts, in the same objectives and measured alike.

    table: a row a candidate that is on one of the fronts: study (its folder), candidate, config_hash, the objectives,
    n, on_front (of its own study), on_joint_front (of both together), probability (of the latter; missing where too few
    seeds tell the spread). hypervolumes: value, expected, low and high of each, up to `reference`; larger: how probably
    that of the first is larger. covered: which share of each front is dominated by the other one or equal to a point of
    it (the C-metric, Zitzler & Thiele 1999). notes: what else differs between the studies, and what is not known.
    """

    names: tuple[str, str]
    objectives: tuple[str, ...]
    table: pd.DataFrame
    reference: Mapping[str, float]
    hypervolumes: pd.DataFrame
    larger: float
    covered: tuple[float, float]  # of the first front by the second, of the second by the first
    notes: tuple[str, ...]


def compare(
    first: StudyAnalysis,
    second: StudyAnalysis,
    objectives: Sequence[str] | None = None,
    reference: Mapping[str, float] | None = None,
) -> Comparison:
    """Compare the fronts of two studies.

    objectives: those of the first study by default, which the second has to have measured too. reference: {objective:
    value}, the point up to which hypervolumes count; by default that of the studies, where both name the same, else a
    tenth beyond the ends of both fronts.

    Raises InputError where the two were trained on other data, or where their values differ in what decides one
    (metric, samples, features, reference pictures, solver, NFE, guidance, average …), with what differs; where one has
    no front; and where the reference point lies inside one of them.
    """
    studies, names = (first, second), _names(first, second)
    goals = first.objectives(objectives)
    theirs = [_same(second, goal, names) for goal in goals]
    if len(goals) < 2:
        raise InputError("two fronts are compared in two objectives or more", "objectives")
    _check_data(studies, names, goals)
    for goal, other in zip(goals, theirs, strict=True):
        _check_alike(studies, names, goal, other)
    columns = [goal.column for goal in goals]
    signs = np.array([goal.sign for goal in goals])
    fronts = [study.front(columns) for study in studies]
    for front, name in zip(fronts, names, strict=True):
        if not front["on_front"].any():
            raise InputError("has no front: no candidate has a value in every objective", name)
    points = [front.loc[front["on_front"], columns].to_numpy(dtype=float) * signs for front in fronts]
    corner = _corner(studies, goals, points, names, reference)
    drawn, notes = _drawn(studies, goals, names)
    table = _table(fronts, drawn, columns, signs, names)
    volumes, larger = _hypervolumes(points, drawn, corner, names)
    given = dict(zip(columns, (corner * signs).tolist(), strict=True))
    covered = (_covered(points[0], points[1]), _covered(points[1], points[0]))
    notes += _differences(studies, names)
    return Comparison(names, tuple(columns), table, given, volumes, larger, covered, tuple(notes))


def _names(first: StudyAnalysis, second: StudyAnalysis) -> tuple[str, str]:
    """Return what the two are called: their folders' names, or their paths where these are the same."""
    short = (first.path.resolve().name, second.path.resolve().name)
    return short if short[0] != short[1] else (str(first.path), str(second.path))


def _same(second: StudyAnalysis, goal: Objective, names: tuple[str, str]) -> Objective:
    """Return an objective of the first study in the second. Raises InputError where it has not measured it."""
    try:
        other = second.objective(goal.column)
    except InputError:
        measured = ", ".join(o.column for o in second.measured) or "nothing"
        message = f"{names[1]} has not measured {goal.column}, an objective of {names[0]}; it has measured {measured}"
        raise InputError(message, Argument("objectives")) from None
    if other.sign != goal.sign:
        raise InputError(f"{goal.column} is better when larger in one of the studies, and when smaller in the other")
    return other


def _check_data(studies: Sequence[StudyAnalysis], names: tuple[str, str], goals: Sequence[Objective]) -> None:
    """Raise InputError where the two were trained on other data, as far as that is recorded, or of other source."""
    if all(goal.column in STATIC for goal in goals):
        return
    hashes = [set(study.trials["data_hash"].dropna()) if "data_hash" in study.trials else set() for study in studies]
    if all(hashes) and hashes[0] != hashes[1]:
        told = "; ".join(
            f"{name}: {', '.join(sorted(str(one)[:12] for one in own))}…"
            for name, own in zip(names, hashes, strict=True)
        )
        raise InputError(
            f"the two were trained on different data ({told}), so their values cannot be compared; measuring again "
            "does not make them alike"
        )
    joint = stacked(study.trials for study in studies)
    origins.check(joint)


def _check_alike(studies: Sequence[StudyAnalysis], names: tuple[str, str], goal: Objective, other: Objective) -> None:
    """Raise InputError where the values of a metric differ, between the studies, in what decides them."""
    if goal.is_recorded:
        return
    settings: list[dict[str, set[Any]]] = []
    for study, objective in zip(studies, (goal, other), strict=True):
        values(study.trials, study.metrics, [objective])  # within a study it is checked there
        ended = set(study.trials.loc[study.trials["state"] == "complete", "trial"])
        rows = study.metrics[(study.metrics["metric"] == objective.column) & study.metrics["trial"].isin(ended)]
        rows = rows[rows["images"] == rows.groupby("trial", observed=True)["images"].transform("max")].drop_duplicates(
            "trial"
        )
        settings.append({field: _recorded(rows, field) for field in DECIDES})
    for field in DECIDES:
        one, two = (own[field] for own in settings)
        if one and two and one != two and not one & two:
            text = [", ".join(sorted(map(_short, own))) for own in (one, two)]
            raise InputError(
                f"the values of {goal.column} differ in {field} between the two, so they do not measure the same "
                f"thing: {names[0]}: {text[0]}; {names[1]}: {text[1]}. Measure both alike (ablate evaluate DIR)"
            )


def _recorded(rows: pd.DataFrame, field: str) -> set[Any]:
    if field not in rows:
        return set()
    return {NOT_RECORDED.get(field) if pd.isna(value) else value for value in rows[field].unique()} - {None}


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{text[:12]}…" if len(text) == 64 else text  # a hash


def _corner(
    studies: Sequence[StudyAnalysis],
    goals: Sequence[Objective],
    points: Sequence[Array],
    names: tuple[str, str],
    reference: Mapping[str, float] | None,
) -> Array:
    """Return the reference point (objectives,), minimised. Raises InputError where it lies inside one of the fronts."""
    columns, signs = [goal.column for goal in goals], np.array([goal.sign for goal in goals])
    own = [study.fixed_reference(columns) for study in studies]
    point = studies[0].reference_point(reference) if reference is not None else own[0] if own[0] == own[1] else None
    if point is None:
        both = np.concatenate(points)
        worst, span = both.max(axis=0), np.ptp(both, axis=0)
        margin = MARGIN * np.where(span > 0, span, np.abs(worst))
        return np.asarray(worst + np.where(margin > 0, margin, 1.0))
    if set(point) != set(columns):
        raise InputError(f"expected a number for each of {', '.join(columns)}, not {dict(point)!r}", "reference")
    corner = np.array([point[column] for column in columns]) * signs
    for own_points, name in zip(points, names, strict=True):
        labels = [f"a point of {name}"] * len(own_points)
        if why := refusal(corner, own_points, labels, columns, signs):
            raise InputError(why, "reference")
    return np.asarray(corner)


def _drawn(
    studies: Sequence[StudyAnalysis], goals: Sequence[Objective], names: tuple[str, str]
) -> tuple[list[tuple[pd.DataFrame, DrawnFronts]] | None, list[str]]:
    """Return draws of both fronts, independent of each other; None, and why, where a study does not tell its spread.

    With other seeds in one than in the other, what the seeds did to all candidates of a study is drawn too: within a
    study it cancels, between the two it does not.
    """
    drawn, notes = [], []
    rng = np.random.default_rng(0)
    seeds = [set(study.trials.loc[study.trials["state"] == "complete", "seed"]) for study in studies]
    for study, name in zip(studies, names, strict=True):
        try:
            table, own = drawn_fronts(study, [goal.column for goal in goals])
            moved = own.values[rng.permutation(len(own.values))]
            if seeds[0] != seeds[1]:
                moved = _moved(study, goals, moved, rng)
            drawn.append((table, DrawnFronts(own.rows, moved, own.certain)))
        except NoSpreadError as error:
            notes.append(f"how sure the comparison is, is not known; {name}: {error.message}")
    return (drawn if not notes else None), notes


def _moved(study: StudyAnalysis, goals: Sequence[Objective], values_: Array, rng: np.random.Generator) -> Array:
    """Move draws (draws, k, objectives) of a study by what the mean of its seeds may have done to all of them.

    Student's t, by the deviation of the seeds. Raises NoSpreadError where one seed does not tell it.
    """
    out = values_.copy()
    hashes = [candidate.config_hash for candidate in study.candidates]
    for i, goal in enumerate(goals):
        if goal.column in KNOWN_BEFOREHAND:
            continue
        frame, _ = values(study.trials, study.metrics, [goal])
        table = by_seed(frame, goal.column, hashes)
        table = table[np.isfinite(table).any(axis=1)]
        logarithmic = is_logarithmic(table)
        seeds = two_way(np.log(table) if logarithmic else table).seeds
        seeds = seeds[np.isfinite(seeds)]
        if len(seeds) < 2:
            raise NoSpreadError("its seeds are others than the other study's, and what they did is not known")
        move = rng.standard_t(len(seeds) - 1, len(out)) * seeds.std(ddof=1) / math.sqrt(len(seeds))
        out[:, :, i] = out[:, :, i] * np.exp(move)[:, None] if logarithmic else out[:, :, i] + goal.sign * move[:, None]
    return out


def _table(
    fronts: Sequence[pd.DataFrame],
    drawn: list[tuple[pd.DataFrame, DrawnFronts]] | None,
    columns: Sequence[str],
    signs: Array,
    names: tuple[str, str],
) -> pd.DataFrame:
    parts = [
        front.loc[front["on_front"], ["candidate", "config_hash", *columns, "n", "on_front"]].assign(study=name)
        for front, name in zip(fronts, names, strict=True)
    ]
    table = pd.concat(parts, ignore_index=True)
    table["on_joint_front"] = nondominated(table[list(columns)].to_numpy(dtype=float) * signs)
    chances: dict[tuple[str, str], float] = {}
    if drawn is not None:
        count = min(len(own.values) for _, own in drawn)
        both = np.concatenate([own.values[:count] for _, own in drawn], axis=1)
        shares = DrawnFronts(np.arange(both.shape[1]), both, drawn[0][1].certain).on_front().mean(axis=0)
        keys = [
            (name, str(one))
            for name, (rows, own) in zip(names, drawn, strict=True)
            for one in rows["config_hash"].iloc[own.rows]
        ]
        chances = dict(zip(keys, shares.tolist(), strict=True))
    pairs = zip(table["study"], table["config_hash"], strict=True)
    table["probability"] = [chances.get((name, str(one)), math.nan) for name, one in pairs]
    order = np.lexsort([table[columns[0]].to_numpy() * signs[0], ~table["on_joint_front"].to_numpy(dtype=bool)])
    table = table.iloc[order].reset_index(drop=True)
    return table[["study", *(column for column in table if column != "study")]]


def _hypervolumes(
    points: Sequence[Array],
    drawn: list[tuple[pd.DataFrame, DrawnFronts]] | None,
    corner: Array,
    names: tuple[str, str],
) -> tuple[pd.DataFrame, float]:
    """Return the hypervolume of each, and how probably that of the first is larger."""
    rows = []
    draws: list[Array] = []
    for i, (own, name) in enumerate(zip(points, names, strict=True)):
        row = {
            "study": name,
            "value": hypervolume(own, corner),
            "expected": math.nan,
            "low": math.nan,
            "high": math.nan,
        }
        if drawn is not None:
            volumes = np.array([hypervolume(front, corner) for front in drawn[i][1].fronts(DRAWN)])
            draws.append(volumes)
            low, high = np.quantile(volumes, [0.025, 0.975])
            row |= {"expected": float(volumes.mean()), "low": float(low), "high": float(high)}
        rows.append(row)
    larger = math.nan
    if draws:
        count = min(map(len, draws))
        larger = float(np.mean(draws[0][:count] > draws[1][:count]))
    return pd.DataFrame(rows), larger


def _covered(front: Array, by: Array) -> float:
    """Return the share of a front's points that another one dominates or equals."""
    return float(np.mean([(by <= point).all(axis=1).any() for point in front]))


def _differences(studies: Sequence[StudyAnalysis], names: tuple[str, str]) -> list[str]:
    """Return what differs between the studies beside their candidates: budget, evaluation, version of ablate."""
    specs = [study.lock.get("spec") for study in studies]
    notes = []
    for key in ("budget", "evaluate"):
        one, two = (spec.get(key) if isinstance(spec, Mapping) else None for spec in specs)
        if one is None or two is None or one == two:
            continue
        fields = [field for field in one if one.get(field) != two.get(field)] if isinstance(one, Mapping) else []
        told = ", ".join(f"{field} {one.get(field)} and {two.get(field)}" for field in fields if field != "metrics")
        if told:
            notes.append(f"the two differ in {key}: {told}")
    joint = stacked(study.trials for study in studies)
    return [*notes, *origins.describe_mixture(joint)]
