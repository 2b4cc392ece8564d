"""What a study can find: the smallest difference at its seeds, and the seeds that a difference takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.errors import InputError
from ablate.results import load as load_results
from ablate.statistics.correction import shares_of_looks
from ablate.statistics.power import POWER, detectable, seeds_needed
from ablate.study.loaded import LoadedStudy

DRAWS = 1000  # simulated studies for each number: a chance of 0.8 is met to ±0.025
SHARES = (0.5, 0.25)  # of the difference that is found, for which the seeds are told too
PLACES = ("results", "results/curated")  # where an earlier run of a study of the same name is looked for


@dataclass(frozen=True)
class KnownSpread:
    """The deviation of a value about its candidate and its seed, and where it is known from."""

    value: float
    source: str


def detection(
    loaded: LoadedStudy, candidates: int, seconds: float, effect: float | None = None, chance: float = POWER
) -> dict[str, Any]:
    """Return what a study of so many candidates finds, as plain data; {} where it compares nothing.

    seconds: of one trial. effect: a difference in the metric's unit (on the log scale a share, 0.1 for 10 %), of which
    the seeds are told; by default a half and a quarter of what is found. chance: with which a difference is found, its
    power. Keys: test, metric, scale, alpha, comparisons, power, spread and spread_of (None where no run tells it: then
    differences are in deviations), and rows: difference, seeds (None beyond 200), trials, seconds; the first row is the
    study as it is.

    Raises InputError where the seeds of an effect are asked for and no spread is known.
    """
    study = loaded.study
    goal = next((o for o in loaded.objectives if not o.is_cost), None)
    if goal is None or candidates < 2 or study.seeding.looks(study.design.seeds) is not None:
        return {}
    plan, seeds = study.analysis, study.design.seeds
    known = known_spread(loaded, goal.column)
    if known is None and effect is not None:
        raise InputError(
            "to say how many seeds it takes, the spread of one training has to be known, and no earlier run in "
            f"{' or '.join(f'{place}/{study.study}' for place in PLACES)} tells it: say analysis.spread",
            "--effect",
        )
    level = plan.alpha * shares_of_looks([seeds], plan.most_seeds)[0]
    least = detectable(plan.test, candidates, seeds, level, DRAWS, chance) if seeds > 1 else math.inf
    unit = 1.0 if known is None else known.value

    def row(deviations: float, count: int | None) -> dict[str, Any]:
        trials = None if count is None else candidates * count
        difference = deviations * unit if plan.scale == "plain" or known is None else math.expm1(deviations * unit)
        work = None if trials is None or math.isnan(seconds) else trials * seconds
        return {
            "difference": difference if math.isfinite(difference) else None,
            "seeds": count,
            "trials": trials,
            "seconds": work,
        }

    if effect is not None:
        sought = [(math.log1p(effect) if plan.scale == "log" else effect) / unit]
    else:
        sought = [share * least for share in SHARES] if math.isfinite(least) else []
    takes = [seeds_needed(plan.test, candidates, one, level, DRAWS, chance) for one in sought]
    rows = [row(least, seeds), *(row(one, count) for one, count in zip(sought, takes, strict=True))]
    return {
        "test": plan.test.called,
        "metric": goal.column,
        "scale": plan.scale,
        "alpha": plan.alpha,
        "comparisons": candidates - 1,
        "power": chance,
        "spread": None if known is None else known.value,
        "spread_of": None if known is None else known.source,
        "rows": rows,
    }


def check_sought(effect: float | None, chance: float) -> None:
    """Raise InputError for an effect that cannot be sought, and for a chance of finding it that is none."""
    if effect is not None and not effect > 0:
        raise InputError(f"an effect to be found is above 0, not {effect:g}", "--effect")
    if not 0 < chance < 1:
        raise InputError(f"a chance of finding an effect is between 0 and 1, not {chance:g}", "--power")


def known_spread(loaded: LoadedStudy, column: str) -> KnownSpread | None:
    """Return the spread that the study declares, or that an earlier run has of the same metric; None without one."""
    if (declared := loaded.study.analysis.spread) is not None:
        return KnownSpread(declared, "analysis.spread")
    for folder in _earlier(loaded):
        try:
            results = load_results(folder)
            found = results.spread(column, scale=loaded.study.analysis.scale)
        except (InputError, OSError):  # no study, or no two candidates with two seeds
            continue
        if found.paired > 0:
            return KnownSpread(found.paired, _shown(folder))
    return None


def _earlier(loaded: LoadedStudy) -> Iterator[Path]:
    """Yield the folders of earlier runs: in the working directory, and beside the folder of the study's file."""
    roots = dict.fromkeys([Path.cwd(), loaded.root, loaded.root.parent])
    for root in roots:
        for place in PLACES:
            folder = root / place / loaded.study.study
            if (folder / "lock.json").is_file():
                yield folder


def _shown(folder: Path) -> str:
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
