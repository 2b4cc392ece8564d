"""The verdict: what is best, whether that can be told from chance, and what it costs, in plain words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablate.errors import InputError
from ablate.results import origins
from ablate.results.effects import ALPHA
from ablate.results.numbers import number, plus_minus, probability, signed
from ablate.results.unequal import noisy

if TYPE_CHECKING:
    from ablate.candidates.objectives import Objective
    from ablate.results.results import Results


def verdict(results: Results) -> str:
    """One to six sentences, never more than the seeds allow."""
    quality = results.quality
    try:
        said = [_best(results, quality)] if quality else [_unmeasured(results)]
    except InputError as error:
        said = [f"No verdict: {error}."]
    return " ".join(s for s in [*said, _noise(results), _origins(results), _breaking(results), _left_out(results)] if s)


def _best(results: Results, quality: Objective) -> str:
    table = results.front([quality.column, "gflops"])
    ranked = table[table["n"] > 0]
    if ranked.empty:
        return _unmeasured(results)
    if "violates" in table:
        ranked = ranked[ranked["violates"] == ""]
        if ranked.empty:
            return "Every candidate with a value breaks a constraint."
    lost = ranked["diverged"] > 0
    if not lost.all():
        ranked = ranked[~lost]
    elif (table["n"] > 0).sum() > len(ranked):
        return "Every candidate with a value breaks a constraint, or lost a seed that diverged."
    ranked = ranked.iloc[(ranked[quality.column] * quality.sign).argsort(kind="stable")]
    best, base = ranked.iloc[0], results.baseline
    n = int(best["n"])
    value = plus_minus(best[quality.column], best[f"{quality.column}.sd"])
    seeds = f"over {n} seeds" if n > 1 else "with one seed"
    title = _called(str(best["candidate"]), own=base is not None and base.config_hash == best["config_hash"])
    told = f"{title} has the best {quality.column}, {value} {seeds}, at {number(best['gflops'], 3)} Gflops"
    if best["diverged"]:
        told += f" (but {best['diverged']} of its seeds diverged, as of every candidate a seed diverged)"
    if (table["n"] > 0).sum() == 1:
        return f"{told}; it is the only candidate with a value, so there is nothing to compare."
    if base is None:
        return f"{told}; no trial of the baseline tells what that is worth."
    return f"{told}{_against(results, quality, best, table)}"


def _against(results: Results, quality: Objective, best: pd.Series[Any], table: pd.DataFrame) -> str:
    effects = results.effects(quality.column)
    note = effects.attrs["note"]
    because = f" {note[:1].upper()}{note[1:]}." if note else ""
    base = results.baseline
    assert base is not None
    alone = base.label == "baseline"  # it has no name of its own where several choices are moved
    named = "the baseline" if alone else f"the baseline {base.label}"
    if best["config_hash"] == base.config_hash:
        told = (effects["p_holm"] < ALPHA) & (effects.attrs["baseline_diverged"] == 0)  # else it is biased
        worse = list(effects.loc[told & (effects["difference"] * quality.sign > 0), "candidate"])
        if worse:
            return (
                f"; {_listed(worse)} {'is' if len(worse) == 1 else 'are'} distinguishably worse (Holm p < {ALPHA:g})."
            )
        return f", but no candidate is distinguishable from it.{because}"
    row = effects[effects["config_hash"] == best["config_hash"]].iloc[0]
    if row["n"] == 0:
        return f"; no seed pairs it with {named}.{because}"
    own = float(table.loc[table["config_hash"] == base.config_hash, "gflops"].iloc[0])
    cost = _cost(float(best["gflops"]), own)
    interval = ""
    if math.isfinite(row["low"]):
        tests = effects.attrs["comparisons"]
        over = f" over all {tests} comparisons" if tests > 1 else ""
        interval = f"95 % interval{over} {signed(row['low'])} to {signed(row['high'])}, "
    difference = f"{signed(row['difference'])} ({interval}Holm p = {probability(row['p_holm'])})"
    if row["diverged"]:
        return f": {difference} against {named}, {cost}, over the seeds that both completed, which decides nothing."
    if row["p_holm"] < ALPHA:
        return f": {difference} against {named}, {cost}; the difference is distinguishable from chance."
    undecided = f": {difference} against {named}, {cost}, which is not distinguishable from chance."
    return f"{undecided}{because}"


def _cost(own: float, base: float) -> str:
    if not (math.isfinite(own) and math.isfinite(base) and base > 0):
        return "at a cost that is not known"
    change = 100 * (own / base - 1)
    return "at the same Gflops" if abs(change) < 0.05 else f"at {signed(change, 2)} % Gflops"


def _unmeasured(results: Results) -> str:
    complete = results.states.get("complete", 0)
    if complete:
        return f"{complete} trial{'s are' if complete > 1 else ' is'} complete, and no metric was measured."
    return "No trial is complete yet." if len(results.trials) else "There is no trial yet."


def _noise(results: Results) -> str:
    """Whose samples are still noise: an order among such says nothing."""
    names = [f"{name} ({share:.2f})" for name, share in noisy(results).items()]
    if not names:
        return ""
    return f"Samples of {_listed(names)} are hardly better than noise (0: as smooth as the data, 1: noise)."


def _origins(results: Results) -> str:
    """What trials of one table had two of."""
    return " ".join(f"{line[:1].upper()}{line[1:]}." for line in origins.told(results.trials))


def _breaking(results: Results) -> str:
    """Who breaks a constraint, and so is on no front and cannot be the best."""
    if not results.lock.get("constraints"):
        return ""
    try:
        table = results.front()
    except InputError:  # told already
        return ""
    if "violates" not in table or not (table["violates"] != "").any():
        return ""
    broken = table[table["violates"] != ""]
    told = [f"{name} ({why})" for name, why in zip(broken["candidate"], broken["violates"], strict=True)]
    return f"Beyond a constraint: {_listed(told)}."


def _left_out(results: Results) -> str:
    """What has no value, by candidate, so that nothing is missing silently."""
    parts = []
    for state, verb in (("diverged", "diverged"), ("failed", "failed"), ("running", "still running")):
        of = results.trials[results.trials["state"] == state]
        if len(of):
            counts = of["candidate"].fillna("unknown").value_counts()
            names = [f"{name} ×{n}" if n > 1 else str(name) for name, n in counts.items()]
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            parts.append(f"{len(of)} {verb} ({', '.join(names[:6])}{more})")
    return f"Trials without a value: {'; '.join(parts)}." if parts else ""


def _called(label: str, own: bool) -> str:
    if not own:
        return label
    return "The baseline" if label == "baseline" else f"{label}, the baseline,"


def _listed(names: list[str]) -> str:
    if len(names) > 6:
        names = [*names[:5], f"{len(names) - 5} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
