"""Quality during training: checks the points at which it is measured, and estimates what they cost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ablate.candidates.candidate import Candidate
from ablate.engine.contained import contained
from ablate.errors import InputError
from ablate.study.device import candidates
from ablate.study.estimate import flops
from ablate.study.loaded import LoadedStudy

if TYPE_CHECKING:
    from ablate.candidates.flops import Cost

EXPENSIVE = 0.25  # share of a trial's operations from which the points are worth a warning


def check_points(loaded: LoadedStudy) -> list[str]:
    """Return warnings where points of the training cost much beside it, or a rung lies within the warm-up.

    Raises InputError where two points fall into one step, for a candidate that is known beforehand.
    """
    share, what = points_cost(loaded)
    warnings = _rungs_within_warmup(loaded)
    if share > EXPENSIVE:
        advice = "fewer points, or evaluate.at_samples, make it less"
        taken = f"{share:.0%}".replace("%", " %")
        warnings.append(f"quality during training takes {taken} of a trial's operations ({what}): {advice}")
    return warnings


def check_checkpoints(loaded: LoadedStudy) -> list[str]:
    """Return no warning. Raises InputError where a checkpoint would stay before the first step, or time decides."""
    shares = loaded.study.checkpoints
    if not shares:
        return []
    where = loaded.document.where(("checkpoints",))
    if loaded.study.budget.minutes is not None:
        raise InputError("checkpoints: how far a training is, is not known where its budget is a time", where)
    for candidate, _, images in _costs(loaded):
        if images is not None and min(shares) * images < candidate.batch:
            step = f"{min(shares):g} of {images:,} images is less than one step of {candidate.batch}"
            raise InputError(f"checkpoints: {step}", where)
    return []


def describe_points(loaded: LoadedStudy) -> list[str]:
    """Return a line on what quality during training costs; none where it is not measured."""
    share, what = points_cost(loaded)
    text = f"quality during training: {what}; about {share:.0%} of a trial's operations".replace("%", " %")
    return [text] if what else []


def points_cost(loaded: LoadedStudy) -> tuple[float, str]:
    """Return the share of a trial's operations that quality during training takes, the largest, and what it is.

    Raises InputError for points that cannot be.
    """
    settings = loaded.trial_settings
    evaluation = settings.evaluation
    if evaluation.during is None:
        return 0.0, ""
    shares, counts = [0.0], [len(evaluation.at)]
    for candidate, cost, images in _costs(loaded):
        _check_rungs(loaded, candidate, images)
        try:
            drawn = evaluation.drawn_in_all(candidate.batch, images)
        except InputError as error:
            raise InputError(error.message, loaded.document.where(("evaluate",))) from None
        counts.append((drawn - evaluation.drawn) // evaluation.samples_during)
        whole = flops(candidate, settings.setting, cost, images or 0, drawn)
        without = flops(candidate, settings.setting, cost, images or 0, evaluation.drawn)
        if images is not None and whole > 0:
            shares.append(1 - without / whole)
    what = f"{max(counts)} times {evaluation.samples_during:,} samples"
    return max(shares), what


def _check_rungs(loaded: LoadedStudy, candidate: Candidate, images: int | None) -> None:
    """Raise InputError where a rung of the study's fidelity is shorter than a step of training."""
    rungs = loaded.study.fidelity.rungs()
    if images is not None and rungs and rungs[0] * images < candidate.batch:
        message = (
            f"fidelity {loaded.study.fidelity.name!r}: its first rung, {rungs[0]:g} of {images:,} images, is less than "
            f"one step of {candidate.batch}"
        )
        raise InputError(message, loaded.document.where(("fidelity",)))


def _rungs_within_warmup(loaded: LoadedStudy) -> list[str]:
    """Return a warning where a fidelity ranks candidates before their learning rate has been reached; else []."""
    fidelity = loaded.study.fidelity
    for candidate, _, images in _costs(loaded, alike=True) if fidelity.rungs() else ():
        first, warmup = fidelity.rungs()[0] * (images or 0), candidate.optimizer.warmup
        if first < warmup and images is not None:
            rung = f"its first rung, after {first:,.0f} of {images:,} images, lies within a warm-up of {warmup:,}"
            return [f"fidelity {fidelity.name!r}: {rung}, where the order says little of that at the end"]
    return []


def _costs(loaded: LoadedStudy, alike: bool = False) -> Iterator[tuple[Candidate, Cost, int | None]]:
    """Yield the candidates that are known beforehand with their cost and training images.

    Once for each batch size, where that decides how many steps there are; alike: all of them.
    """
    settings = loaded.trial_settings
    seen: set[int] = set()
    for candidate, _ in candidates(loaded):
        if not alike and settings.budget.train_gflops is None and candidate.batch in seen:
            continue
        seen.add(candidate.batch)
        cost = None
        with contextlib.suppress(Exception), contained():  # a plugin's own code: its trial reports what is wrong
            cost = settings.cost(candidate)
        if cost is None:
            continue
        images = settings.budget.images_for(candidate.batch, cost.trained_gflops)
        yield candidate, cost, images
