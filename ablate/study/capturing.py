"""What keeps the training steps of a study's candidates from being captured, told before anything is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ablate.candidates.candidate import Candidate, cost_of
from ablate.engine.contained import contained
from ablate.errors import SpecError
from ablate.kinds.design import Assignment
from ablate.runtime.isolation import isolated
from ablate.runtime.patient import doing
from ablate.spec.component import InputSpec
from ablate.study.loaded import LoadedStudy

if TYPE_CHECKING:
    import torch

    from ablate.training.learner import Learner

IMAGES = 4  # of a step that is tried
MOST_PARAMS = 20_000_000  # of a network that is tried: a larger one is looked at when its training begins
NAMED = 3  # candidates that a warning names


def capture_warnings(loaded: LoadedStudy, on: torch.device, assignments: Iterable[Assignment]) -> Iterator[str]:
    """Yield why the plain step is taken, of candidates with `capture: auto`: a reason each, with whom it concerns."""
    from ablate.training.captured import NO_CUDA

    asked = {name: candidate for name, candidate in _named(loaded, assignments) if candidate.capture != "none"}
    if asked and on.type != "cuda":
        yield f"capture: the plain step is taken: {NO_CUDA}"
    reasons: dict[str, list[str]] = {}
    for name, candidate in asked.items():
        if (why := _why_plain(candidate, loaded.trial_settings.setting)) is not None:
            reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        whom = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        yield f"capture: the plain step is taken with {whom}: {why}"


def _why_plain(candidate: Candidate, setting: InputSpec) -> str | None:
    """Return why, by what its parts say, and by a step on a few made-up images; None where nothing is known."""
    from ablate.training.captured import dry_run, excluded, why_plain

    if (said := excluded(candidate)) is not None:
        return said
    try:
        if setting.conditions or cost_of(candidate.backbone, candidate.inputs(setting)).params > MOST_PARAMS:
            return None
        with doing("trying a training step"), contained(), isolated():
            learner = _tried(candidate, setting)
            return why_plain(learner) or dry_run(learner)
    except Exception:  # noqa: BLE001 - a plugin's own code, or what it needs that is not here: its trial tells
        return None


def _tried(candidate: Candidate, setting: InputSpec) -> Learner:
    import numpy as np
    import torch

    from ablate.kinds.data import Dataset
    from ablate.training.learner import Images, Learner

    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (2 * IMAGES, *setting.shape), dtype=np.uint8)
    labels = None if setting.classes is None else np.arange(2 * IMAGES) % setting.classes
    cpu = torch.device("cpu")
    images = Images(Dataset(pixels, labels, pixels, labels, setting.classes, "0" * 64), cpu)
    small = candidate.model_copy(update={"batch": IMAGES, "micro": None, "compile": "none", "devices": 1})
    learner = Learner(small, setting, images, 0, cpu, None)
    learner.network.train()
    return learner


def _named(loaded: LoadedStudy, assignments: Iterable[Assignment]) -> Iterator[tuple[str, Candidate]]:
    """Yield the candidates that go together, with their names."""
    for assignment in assignments:
        with contextlib.suppress(SpecError):
            yield loaded.names(assignment), loaded.candidate(assignment)
