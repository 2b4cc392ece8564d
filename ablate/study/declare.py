"""The analysis that a study declares: frozen at the first launch, with every look at its results since."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.errors import InputError, Problem
from ablate.statistics.declared import AnalysisPlan
from ablate.study.loaded import LoadedStudy
from ablate.study.schema import Study
from ablate.worker import records

FROZEN = ("test", "alpha", "delta", "scale", "most_seeds")  # what decides a verdict
_SEED = re.compile(r"-s(\d+)$")


def analysis_problems(study: Study) -> list[Problem]:
    """Return why a study cannot be analysed as it says; [] where it can."""
    return list(_problems(study))


def complete_seeds(folder: Path) -> set[int]:
    """Return the seeds of which a trial of a folder has a result: who looks at it has seen them."""
    names = (trial.name for trial in records.recorded(folder))
    return {int(found[1]) for name in names if (found := _SEED.search(name))}


def locked_analysis(
    loaded: LoadedStudy, then: Mapping[str, Any] | None = None, seen: Collection[int] = ()
) -> dict[str, Any]:
    """Return what a lock keeps of the analysis. then: what it kept before; seen: seeds of which there are results.

    looks: the seeds of each look, those of the ones before among them. A launch that asks for further seeds, after
    results were there, is a further look. after: how many seeds had results when the analysis was declared, where some
    had: it was chosen by who could see them.
    """
    study = loaded.study
    plan, design = study.analysis, study.design
    asked = range(design.first_seed, design.first_seed + design.seeds)
    looks = [list(look) for look in then["looks"]] if then and seen else [sorted(seen)] if seen else []
    before = looks[-1] if looks else []
    if set(asked) - set(before):
        looks = [*(look for look in looks if len(look) > 1), sorted({*before, *asked})]  # one seed shows nothing yet
    entry = loaded.catalog.locate(type(plan.test))
    provenance = {"distribution": entry.distribution, "module": entry.cls.__module__, "source_hash": entry.source_hash}
    kept = {key: then[key] for key in ("provenance", "after") if key in then} if then and seen else {}
    after = {} if then or not seen else {"after": len(seen)}
    return {**frozen(plan), "provenance": provenance, "looks": looks, **after, **kept}


def frozen(plan: AnalysisPlan) -> dict[str, Any]:
    """Return what of an analysis decides the verdict, as plain data."""
    spec = plan.spec()
    return {key: spec[key] for key in FROZEN}


def is_analysis(entry: Any) -> bool:
    """Return whether this is what `locked_analysis` gives."""
    kinds: dict[str, type | tuple[type, ...]] = {"test": dict, "alpha": float, "scale": str, "looks": list}
    return isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in kinds.items())


def check_analysis(folder: Path, lock: Mapping[str, Any], study: Study) -> None:
    """Raise InputError where results would be judged otherwise than was declared before they were seen."""
    then = lock.get("analysis")
    if not then or not (seen := complete_seeds(folder)):
        return
    now = frozen(study.analysis)
    changed = [
        f"analysis.{key}: {_show(then.get(key))} -> {_show(now[key])}" for key in FROZEN if then.get(key) != now[key]
    ]
    if changed:
        looks = len(then["looks"])
        times = "once" if looks == 1 else f"{looks} times"
        raise InputError(
            f"{'; '.join(changed)}: the analysis was declared before the results, which were looked at {times} since "
            f"({len(seen)} seeds): who has seen them cannot choose the test. Leave it as it was; "
            "`load(DIR).effects(test=...)` shows another one, as not declared; or give another folder with --out",
            str(folder),
        )
    design = study.design
    asked = {*then["looks"][-1], *range(design.first_seed, design.first_seed + design.seeds)}
    most = then.get("most_seeds")
    if most is not None and len(asked) > most:
        raise InputError(
            f"analysis.most_seeds says that a candidate has {most} seeds at the most, and all of the error is spent by "
            f"then; now it would have {len(asked)}. Give fresh seeds a folder of their own: --set "
            f"design.first_seed={max(asked) + 1} --out ANOTHER",
            str(folder),
        )


def describe_growth(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """Return a line where a launch adds seeds after a look, on what that does to the error."""
    looks = now["looks"]
    if not then or len(looks) <= len(then["looks"]) or len(looks) < 2:
        return []
    numbers = " and ".join(str(len(look)) for look in looks[:-1])
    return [
        f"seeds are added after a look at {numbers}: p-values allow for all {len(looks)} looks, so the chance of a "
        f"wrong claim stays at {now['alpha']:g} in all"
    ]


def _problems(study: Study) -> Iterator[Problem]:
    plan, seeds = study.analysis, study.design.seeds
    if plan.most_seeds is not None and plan.most_seeds < seeds:
        message = f"is less than design.seeds ({seeds}): a candidate has no fewer than those"
        yield Problem(("analysis", "most_seeds"), message)
    try:
        looks = study.seeding.looks(seeds)
    except ValueError:  # told by the seeding
        return
    if looks is None:
        return
    why = f"seeding {study.seeding.name!r} adds seeds while it looks, and tests by its own looks"
    if not plan.test.default:
        yield Problem(("analysis", "test"), f"{why}: leave the test out, or give every candidate the same seeds")
    if plan.scale != "plain":
        yield Problem(("analysis", "scale"), f"{why}, on the plain scale: leave the scale out")
    if plan.most_seeds is not None:
        yield Problem(("analysis", "most_seeds"), f"{why}, up to {looks.most} seeds: leave most_seeds out")
    if plan.alpha != looks.alpha and plan.alpha != AnalysisPlan.model_fields["alpha"].default:
        yield Problem(("analysis", "alpha"), f"{why} at {looks.alpha:g}: say seeding.alpha")


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = ", ".join(f"{key}: {_show(one)}" for key, one in value.items() if key != "type")
        return f"{value.get('type')}" + (f" ({rest})" if rest else "")
    return "none" if value is None else str(value)
