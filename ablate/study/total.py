"""Whether the total budget of a study suffices for one candidate; said before anything is trained."""

from __future__ import annotations

from ablate.candidates.objectives import TRAIN_PASSES
from ablate.errors import InputError
from ablate.study.loaded import LoadedStudy


def check_total(loaded: LoadedStudy) -> list[str]:
    """Return no warning. Raises InputError where `total` does not suffice for the baseline, or cannot be counted."""
    total, study, settings = loaded.study.total, loaded.study, loaded.trial_settings
    if total is None:
        return []
    seeds = study.design.seeds
    if total.trials is not None and total.trials < seeds:
        message = f"total.trials: {total.trials} are less than one candidate of {seeds} seeds"
        raise InputError(message, loaded.document.where(("total", "trials")))
    if total.train_gflops is None:
        return []
    where = loaded.document.where(("total", "train_gflops"))
    if study.budget.minutes is not None:
        message = "total.train_gflops: how much is trained in a time is not known beforehand; say total.hours"
        raise InputError(message, where)
    cost = settings.cost(study.base)
    images = settings.budget.images_for(study.base.batch, cost.trained_gflops) or 0
    one = seeds * TRAIN_PASSES * cost.trained_gflops * images
    if total.train_gflops < one:
        message = f"total.train_gflops: {total.train_gflops:.4g} do not suffice for the baseline, which takes {one:.4g}"
        raise InputError(message, where)
    return []
