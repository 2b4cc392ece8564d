"""The verdict in sentences: which candidate is best, whether the difference is significant, and what it costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablate.errors import InputError
from ablate.results import origins
from ablate.results.frames import collapsed, noisy
from ablate.results.looks import describe_looks, looked
from ablate.results.numbers import number, plus_minus, probability, signed

if TYPE_CHECKING:
    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis


def verdict(results: StudyAnalysis) -> str:
    """Write the verdict: one to six sentences, that claim no more than the seeds allow."""
    quality = results.quality
    try:
        sentences = [_best(results, quality)] if quality else [_unmeasured(results)]
        sentences.append(_looks(results))
    except InputError as error:
        sentences = [f"No verdict: {error}."]
    sentences += [_noise(results), _collapse(results), _origins(results), _violations(results), _left_out(results)]
    return " ".join(filter(None, sentences))


def _best(results: StudyAnalysis, quality: Objective) -> str:
    table = results.front([quality.column, "gflops"])
    ranked = table[table["n"] > 0]
    if ranked.empty:
        return _unmeasured(results)
    if "violates" in table:
        ranked = ranked[ranked["violates"] == ""]
        if ranked.empty:
            return "Every candidate with a value breaks a constraint."
    diverged = ranked["diverged"] > 0
    if not diverged.all():
        ranked = ranked[~diverged]
    elif (table["n"] > 0).sum() > len(ranked):
        return "Every candidate with a value breaks a constraint, or lost a seed that diverged."
    ranked = ranked.iloc[(ranked[quality.column] * quality.sign).argsort(kind="stable")]
    best, base = ranked.iloc[0], results.baseline
    n = int(best["n"])
    value = plus_minus(best[quality.column], best[f"{quality.column}.sd"])
    seeds = f"over {n} seeds" if n > 1 else "with one seed"
    title = _subject(str(best["candidate"]), is_baseline=base is not None and base.config_hash == best["config_hash"])
    text = f"{title} has the best {quality.column}, {value} {seeds}, at {number(best['gflops'], 3)} Gflops"
    if best["diverged"]:
        text += f" (but {best['diverged']} of its seeds diverged, as of every candidate a seed diverged)"
    if (table["n"] > 0).sum() == 1:
        return f"{text}; it is the only candidate with a value, so there is nothing to compare."
    if base is None:
        return f"{text}; no trial of the baseline tells what that is worth."
    return f"{text}{_against(results, quality, best, table)}"


def _against(results: StudyAnalysis, quality: Objective, best: pd.Series[Any], table: pd.DataFrame) -> str:
    effects = results.effects(quality.column)
    told, effects.attrs = effects.attrs, {}  # a difference for each seed, which pandas would copy each time
    alpha = told["alpha"]
    note = "" if looked(results.lock) and effects["n"].any() else told["note"]  # looks: see `_looks`
    because = f" {note[:1].upper()}{note[1:]}." if note else ""
    base = results.baseline
    assert base is not None
    unnamed = base.label == "baseline"  # it has no name of its own where several choices are moved
    name = "the baseline" if unnamed else f"the baseline {base.label}"
    if best["config_hash"] == base.config_hash:
        significant = (effects["p_holm"] < alpha) & (told["baseline_diverged"] == 0)  # else it is biased
        worse = list(effects.loc[significant & (effects["difference"] * quality.sign > 0), "candidate"])
        if worse:
            return (
                f"; {_listing(worse)} {'is' if len(worse) == 1 else 'are'} distinguishably worse (Holm p < {alpha:g})."
            )
        return f", but no candidate is distinguishable from it.{because}"
    row = effects[effects["config_hash"] == best["config_hash"]].iloc[0]
    if row["n"] == 0:
        return f"; no seed pairs it with {name}.{because}"
    base_gflops = float(table.loc[table["config_hash"] == base.config_hash, "gflops"].iloc[0])
    cost = _cost(float(best["gflops"]), base_gflops)
    interval = ""
    if math.isfinite(row["low"]):
        tests = told["comparisons"]
        over = f" over all {tests} comparisons" if tests > 1 else ""
        interval = f"{100 * (1 - alpha):g} % interval{over} {signed(row['low'])} to {signed(row['high'])}, "
    difference = f"{signed(row['difference'])} ({interval}Holm p = {probability(row['p_holm'])})"
    if row["diverged"]:
        return f": {difference} against {name}, {cost}, over the seeds that both completed, which decides nothing."
    if row["p_holm"] < alpha:
        return f": {difference} against {name}, {cost}; the difference is distinguishable from chance."
    undecided = f": {difference} against {name}, {cost}, which is not distinguishable from chance."
    return f"{undecided}{because}"


def _looks(results: StudyAnalysis) -> str:
    """Say that seeds were added while one looked, and who is shown to be on the front."""
    found = looked(results.lock)
    if found is None:
        return ""
    text = describe_looks(found)
    try:
        table = results.race()
    except InputError:  # told already
        return f"{text[:1].upper()}{text[1:]}."
    ends = {"on": "shown to be on it", "off": "shown not to be on it", "open": "open"}
    groups = [(list(table.loc[table["front"] == key, "candidate"]), word) for key, word in ends.items()]
    parts = [f"{_listing(names)} {'is' if len(names) == 1 else 'are'} {word}" for names, word in groups if names]
    front = f" Of the front of {' and '.join(table.attrs['objectives'])}, {', '.join(parts)}." if parts else ""
    return f"{text[:1].upper()}{text[1:]}.{front}"


def _cost(gflops: float, baseline_gflops: float) -> str:
    if not (math.isfinite(gflops) and math.isfinite(baseline_gflops) and baseline_gflops > 0):
        return "at a cost that is not known"
    change = 100 * (gflops / baseline_gflops - 1)
    return "at the same Gflops" if abs(change) < 0.05 else f"at {signed(change, 2)} % Gflops"


def _unmeasured(results: StudyAnalysis) -> str:
    complete = results.states.get("complete", 0)
    if complete:
        return f"{complete} trial{'s are' if complete > 1 else ' is'} complete, and no metric was measured."
    return "No trial is complete yet." if len(results.trials) else "There is no trial yet."


def _collapse(results: StudyAnalysis) -> str:
    """Name the candidates whose samples are nearly all alike: their metrics say little."""
    alike = collapsed(results.trials)
    names = [c.label for c in results.candidates if c.label in alike]
    return f"Samples of {_listing(names)} are nearly all alike: they collapsed." if names else ""


def _noise(results: StudyAnalysis) -> str:
    """Name the candidates whose samples are still noise: an order among such says nothing."""
    names = [f"{name} ({share:.2f})" for name, share in noisy(results.trials).items()]
    if not names:
        return ""
    return f"Samples of {_listing(names)} are hardly better than noise (0: as smooth as the data, 1: noise)."


def _origins(results: StudyAnalysis) -> str:
    """Say which sources and versions are mixed in one table."""
    return " ".join(f"{line[:1].upper()}{line[1:]}." for line in origins.describe_mixture(results.trials))


def _violations(results: StudyAnalysis) -> str:
    """Name the candidates that break a constraint, and so are on no front and cannot be the best."""
    if not results.lock.get("constraints"):
        return ""
    try:
        table = results.front()
    except InputError:  # told already
        return ""
    if "violates" not in table or not (table["violates"] != "").any():
        return ""
    broken = table[table["violates"] != ""]
    reasons = [f"{name} ({why})" for name, why in zip(broken["candidate"], broken["violates"], strict=True)]
    return f"Beyond a constraint: {_listing(reasons)}."


VERBS = {"diverged": "diverged", "failed": "failed", "paused": "paused before the end", "running": "still running"}


def _left_out(results: StudyAnalysis) -> str:
    """Count the trials without a value by candidate, so that nothing is missing silently."""
    parts = []
    for state, verb in VERBS.items():
        trials = results.trials[results.trials["state"] == state]
        if len(trials):
            counts = trials["candidate"].fillna("unknown").value_counts()
            names = [f"{name} ×{n}" if n > 1 else str(name) for name, n in counts.items()]
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            parts.append(f"{len(trials)} {verb} ({', '.join(names[:6])}{more})")
    return f"Trials without a value: {'; '.join(parts)}." if parts else ""


def _subject(label: str, is_baseline: bool) -> str:
    if not is_baseline:
        return label
    return "The baseline" if label == "baseline" else f"{label}, the baseline,"


def _listing(names: list[str]) -> str:
    if len(names) > 6:
        names = [*names[:5], f"{len(names) - 5} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
