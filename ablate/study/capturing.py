"""What keeps training steps and samples of a study's candidates from being captured, told before the training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
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
    from ablate.runtime.graph import NO_CUDA

    asked = {name: candidate for name, candidate in _named(loaded, assignments) if candidate.capture != "none"}
    if asked and on.type != "cuda":
        yield f"capture: the plain step is taken: {NO_CUDA}"
    for what, look in (("the plain step is taken", _why_plain), ("samples are drawn plainly", _why_plain_samples)):
        reasons: dict[str, list[str]] = {}
        for name, candidate in asked.items():
            if (why := look(candidate, loaded.trial_settings.setting)) is not None:
                reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            whom = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            yield f"capture: {what} with {whom}: {why}"


def _why_plain(candidate: Candidate, setting: InputSpec) -> str | None:
    """Return why, by what its parts say, and by a step on a few made-up images; None where nothing is known."""
    from ablate.training.captured import dry_run, excluded, why_plain

    def look() -> str | None:
        learner = _tried(candidate, setting)
        return why_plain(learner) or dry_run(learner)

    return excluded(candidate) or _tried_out(look, candidate, setting)


def _why_plain_samples(candidate: Candidate, setting: InputSpec) -> str | None:
    """Return why of the evaluations in sampling, by what its parts say, and by two of them on made-up images."""
    from ablate.evaluation.captured import TOLD, excluded, look

    if candidate.inputs(setting).conditions:
        return TOLD

    def evaluate() -> str | None:
        import torch

        learner = _tried(candidate, setting)
        inputs = [learner.data.take(torch.arange(IMAGES)), torch.zeros(IMAGES), learner.data.labels]
        inputs[2] = None if inputs[2] is None else inputs[2][:IMAGES]
        inputs += [torch.zeros(IMAGES)] * learner.process.flow_map
        with torch.inference_mode():
            network = learner.network.eval()
            parts = [part for _, part in candidate.parts()]
            return look(learner.predict, network, tuple(inputs), learner.device, parts)

    return excluded(candidate) or _tried_out(evaluate, candidate, setting)


def _tried_out(look: Callable[[], str | None], candidate: Candidate, setting: InputSpec) -> str | None:
    try:
        if setting.conditions or cost_of(candidate.backbone, candidate.inputs(setting)).params > MOST_PARAMS:
            return None
        with doing("trying a training step"), contained(), isolated():
            return look()
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
