"""Warnings on the study as a whole: mixed sources, unequal training, biased solvers, a search cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.io.sealed import DamagedError, read_sealed
from ablate.results import origins
from ablate.results.frames import last_rows

if TYPE_CHECKING:
    from ablate.results.contents import StudyContents

# Error of a solver up to which nothing is said: `ablate.evaluation.solver_bias.TOLERATED`, without torch.
TOLERATED = 0.02
NAMED = 4  # candidates that a line names
ENDED = "ended.json"  # the engine's word that a study is whole


def unequal(results: StudyContents) -> list[str]:
    """Return the warnings for below a table: mixed sources, biased solvers, unequal training, a short search."""
    return [*origins.describe_mixture(results.trials), *_solvers(results), *_images(results), *_short(results)]


def ended(results: StudyContents) -> dict[str, object]:
    """Read what the engine wrote at the end of the study: `trials`, and why a search is `short`; {} before."""
    try:
        return read_sealed(results.path / ENDED)
    except (FileNotFoundError, DamagedError):
        return {}


def _solvers(results: StudyContents) -> list[str]:
    """Warn of candidates whose samples are too wide or too narrow by the solver's own error."""
    metrics = results.metrics
    rows = last_rows(metrics[metrics["candidate"].notna()])
    if "solver_error" not in rows or rows["solver_error"].isna().all():  # of an earlier version
        return []
    biased = rows[rows["solver_error"].abs() > TOLERATED].drop_duplicates(["candidate", "solver_error"])
    lines = []
    for _, group in biased.groupby(["solver", "nfe", "solver_error"], sort=False, observed=True):
        solver, nfe, error = group["solver"].iloc[0], float(group["nfe"].iloc[0]), float(group["solver_error"].iloc[0])
        names = list(dict.fromkeys(group["candidate"]))
        candidates = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        percent = f"{abs(error):.1%}".replace("%", " %")
        lines.append(
            f"solver {solver!r} in {nfe:g} evaluations makes Gaussian samples {percent} too "
            f"{'wide' if error > 0 else 'narrow'} by itself, so part of every metric of {candidates} is the solver's"
        )
    return lines


def _images(results: StudyContents) -> list[str]:
    """Warn where the budget was time, and the candidates have not seen the same number of images."""
    spec = results.lock.get("spec")
    budget = spec.get("budget") if isinstance(spec, dict) else None
    minutes = budget.get("minutes") if isinstance(budget, dict) else None
    if minutes is None:
        return []
    complete = results.trials[results.trials["state"] == "complete"]
    images = complete.groupby("config_hash", observed=True)["images"].mean().dropna()
    if len(images) < 2 or images.min() == images.max():
        return []
    message = f"the budget was {float(minutes):g} minutes of training, in which candidates saw from {images.min():,.0f}"
    cause = "a faster one has trained on more (budget.images makes them equal)"
    return [f"{message} to {images.max():,.0f} images: {cause}"]


def _short(results: StudyContents) -> list[str]:
    short = ended(results).get("short")
    return [str(short)] if short else []
