"""The verdict in sentences: which candidate is best, whether the difference is significant, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablate.errors import InputError
from ablate.results import origins
from ablate.results.frames import collapsed, noisy
from ablate.results.inherited import BEGINS
from ablate.results.inherited import describe as describe_inherited
from ablate.results.looks import describe_looks, looked
from ablate.results.numbers import equals, number, plus_minus, signed
from ablate.results.unequal import ended

if TYPE_CHECKING:
    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis


def verdict(results: StudyAnalysis) -> str:
    """Write the verdict: one to six sentences, that claim no more than the seeds allow."""
    quality = results.quality
    try:
        sentences = [_best(results, quality)] if quality else [_unmeasured(results)]
        sentences += [_test(results), _looks(results)]
    except InputError as error:
        sentences = [f"No verdict: {error}."]
    sentences += [_noise(results), _collapse(results), _origins(results), _violations(results), _left_out(results)]
    sentences += [f"{told}." if (told := describe_inherited(results.trials)) else ""]
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
        return f"{text}; no trial of the baseline tells what that is worth.{_among(results, quality, best)}"
    return f"{text}{_against(results, quality, best, table)}"


def _against(results: StudyAnalysis, quality: Objective, best: pd.Series[Any], table: pd.DataFrame) -> str:
    effects = results.effects(quality.column)
    told = {str(key): value for key, value in effects.attrs.items()}
    effects.attrs = {}  # a difference for each seed, which pandas would copy each time
    note = "" if looked(results.lock) and effects["n"].any() else told["note"]  # looks: see `_looks`
    because = f" {note[:1].upper()}{note[1:]}." if note else ""
    base = results.baseline
    assert base is not None
    if best["config_hash"] == base.config_hash:
        return _of_baseline(effects, told, because)
    unnamed = base.label == "baseline"  # it has no name of its own where several choices are moved
    name = "the baseline" if unnamed else f"the baseline {base.label}"
    row = effects[effects["config_hash"] == best["config_hash"]].iloc[0]
    if row["n"] == 0 and math.isnan(row["p_holm"]):
        return f"; no seed pairs it with {name}.{because}"
    base_gflops = float(table.loc[table["config_hash"] == base.config_hash, "gflops"].iloc[0])
    difference = f": {_difference(row, told)} against {name}, {_cost(float(best['gflops']), base_gflops)}"
    if row["diverged"] and looked(results.lock):
        return f"{difference}, over the seeds that both completed, which decides nothing."
    if row["answer"] == "equivalent":
        return f"{difference}; the two are equivalent within {_margin(told)}."
    if row["p_holm"] < told["alpha"]:
        return f"{difference}; the difference is distinguishable from chance."
    return f"{difference}, which is not distinguishable from chance.{because}"


def _of_baseline(effects: pd.DataFrame, told: Mapping[str, Any], because: str) -> str:
    """Say which candidates are shown to be worse than the best, which is the baseline, and which equivalent to it."""
    worse = list(effects.loc[effects["answer"] == "worse", "candidate"])
    alike = list(effects.loc[effects["answer"] == "equivalent", "candidate"])
    parts = []
    if worse:
        verb = "is" if len(worse) == 1 else "are"
        parts.append(f"{_listing(worse)} {verb} distinguishably worse (Holm p < {told['alpha']:g})")
    if alike:
        parts.append(f"{_listing(alike)} {'is' if len(alike) == 1 else 'are'} equivalent to it within {_margin(told)}")
    if parts:
        return f"; {', and '.join(parts)}."
    return f", but no candidate is distinguishable from it.{because}"


def _difference(row: pd.Series[Any], told: Mapping[str, Any]) -> str:
    """Write a difference with its interval and p; on the log scale a ratio."""
    p = f"Holm p {equals(row['p_holm'])}"
    if not math.isfinite(row["difference"]):
        return f"by ranks, diverged runs last ({p})"
    over = f" over all {told['comparisons']} comparisons" if told["comparisons"] > 1 else ""
    level = f"{100 * (1 - told['alpha']):g} % interval{over}"
    if told["scale"] == "log" and math.isfinite(row["ratio"]):
        ends = f"{number(row['ratio_low'], 3)} to {number(row['ratio_high'], 3)}"
        interval = f"{level} {ends}, " if math.isfinite(row["ratio_low"]) else ""
        return f"{number(row['ratio'], 3)} times ({interval}{p})"
    interval = f"{level} {signed(row['low'])} to {signed(row['high'])}, " if math.isfinite(row["low"]) else ""
    return f"{signed(row['difference'])} ({interval}{p})"


def _margin(told: Mapping[str, Any]) -> str:
    return f"{100 * told['delta']:g} %" if told["scale"] == "log" else f"±{number(told['delta'])}"


def _among(results: StudyAnalysis, quality: Objective, best: pd.Series[Any]) -> str:
    """Say, without a baseline, of which candidates the best is shown to be better."""
    try:
        pairs = results.pairs(quality.column)
    except InputError:  # too many of them, or seeds were added while one looked
        return ""
    ours = pairs[(pairs["config_hash"] == best["config_hash"]) | (pairs["other_hash"] == best["config_hash"])]
    turned = (ours["config_hash"] == best["config_hash"]).to_numpy()
    told = ours["answer"].to_numpy()
    others = ours["other"].where(turned, ours["candidate"]).to_numpy()
    behind = [
        str(name)
        for name, first, word in zip(others, turned, told, strict=True)
        if word == ("better" if first else "worse")
    ]
    level = f"all {pairs.attrs['comparisons']} pairs, Holm p < {pairs.attrs['alpha']:g}"
    if not behind:
        note = pairs.attrs["note"]
        because = f" {note[:1].upper()}{note[1:]}." if note else ""
        return f" No other candidate is distinguishable from it ({level}).{because}"
    return f" {_listing(behind)} {'is' if len(behind) == 1 else 'are'} distinguishably worse than it ({level})."


def _test(results: StudyAnalysis) -> str:
    """Say by which test this was judged, when it was chosen, and whether the study has come to its end."""
    if looked(results.lock) is not None or results.quality is None or not results.states.get("complete"):
        return ""
    plan = results.declared
    if not plan.is_own:
        text = f"No test was declared when this study was run; it is judged as then, by the {plan.test.called}."
    elif plan.after:
        text = f"The test, {plan.test.called}, was declared after {plan.after} seeds had results."
    else:
        text = f"Test: {plan.test.called}, declared beforehand."
    if len(plan.looks) > 1:
        text += f" One looked at {_listing([str(len(look)) for look in plan.looks])} seeds, which p-values allow for."
    if plan.is_own and not ended(results):
        text += " The study has not come to its end: this is a look ahead of time, which p-values do not allow for."
    return text


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
    broken = table[(table["violates"] != "") & ~table["violates"].str.startswith(BEGINS)]
    if broken.empty:
        return ""
    reasons = [f"{name} ({why})" for name, why in zip(broken["candidate"], broken["violates"], strict=True)]
    return f"Beyond a constraint: {_listing(reasons)}."


VERBS = {"diverged": "diverged", "failed": "failed", "paused": "paused before the end", "running": "still running"}


def _left_out(results: StudyAnalysis) -> str:
    """Count the trials without a value by candidate, so that nothing is missing silently."""
    parts = []
    for state, verb in VERBS.items():
        trials = results.trials[results.trials["state"] == state]
        if len(trials):
            counts = trials["candidate"].astype(object).fillna("unknown").value_counts()
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
