"""What a reader of a study's table has to know of the study as a whole: unequal trainings, a search cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.evaluation.noisiness import THRESHOLD
from ablate.io.sealed import DamagedError, read_sealed
from ablate.results import origins
from ablate.results.frames import last_rows

if TYPE_CHECKING:
    from ablate.results.results import Results

TOLERATED = (
    0.02  # error of a solver up to which nothing is said: `ablate.evaluation.solver_bias.TOLERATED`, without torch
)
NAMED = 4  # candidates that a line names
ENDED = "ended.json"  # the engine's word that a study is whole


def unequal(results: Results) -> list[str]:
    """One line each, for the warnings under a table; [] where all is as it seems."""
    return [*origins.told(results.trials), *_solvers(results), *_images(results), *_short(results)]


def noisy(results: Results) -> dict[str, float]:
    """{candidate: mean of `noise` over its trials} where they look like noise."""
    trials = results.trials
    if "noise" not in trials or trials["noise"].isna().all():
        return {}
    shares = trials.groupby("candidate", sort=False)["noise"].mean()
    return {str(name): float(share) for name, share in shares[shares > THRESHOLD].items()}


def ended(results: Results) -> dict[str, object]:
    """What the engine left when nothing was left to do: `trials`, and why a search is `short`; {} before."""
    try:
        return read_sealed(results.path / ENDED)
    except (FileNotFoundError, DamagedError):
        return {}


def _solvers(results: Results) -> list[str]:
    """Which candidates' samples the solver alone puts off, by the measurements that the table shows."""
    known = results.metrics
    rows = last_rows(known[known["candidate"].notna()])
    if "solver_error" not in rows or rows["solver_error"].isna().all():  # of an earlier version
        return []
    off = rows[rows["solver_error"].abs() > TOLERATED].drop_duplicates(["candidate", "solver_error"])
    lines = []
    for _, of in off.groupby(["solver", "nfe", "solver_error"], sort=False):
        solver, nfe, error = of["solver"].iloc[0], float(of["nfe"].iloc[0]), float(of["solver_error"].iloc[0])
        names = list(dict.fromkeys(of["candidate"]))
        who = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        much = f"{abs(error):.1%}".replace("%", " %")
        lines.append(
            f"solver {solver!r} in {nfe:g} evaluations makes Gaussian samples {much} too "
            f"{'wide' if error > 0 else 'narrow'} by itself, so part of every metric of {who} is the solver's"
        )
    return lines


def _images(results: Results) -> list[str]:
    """Where time was the budget, the candidates have not seen the same number of images."""
    spec = results.lock.get("spec")
    budget = spec.get("budget") if isinstance(spec, dict) else None
    minutes = budget.get("minutes") if isinstance(budget, dict) else None
    if minutes is None:
        return []
    complete = results.trials[results.trials["state"] == "complete"]
    seen = complete.groupby("config_hash")["images"].mean().dropna()
    if len(seen) < 2 or seen.min() == seen.max():
        return []
    told = f"the budget was {float(minutes):g} minutes of training, in which candidates saw from {seen.min():,.0f}"
    return [f"{told} to {seen.max():,.0f} images: a faster one has trained on more (budget.images makes them equal)"]


def _short(results: Results) -> list[str]:
    short = ended(results).get("short")
    return [str(short)] if short else []
