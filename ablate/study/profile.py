"""The profile of a candidate's training step: a short run of the real step, of which nothing is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ablate.candidates.candidate import Candidate
from ablate.errors import InputError
from ablate.kinds.precision import Precision
from ablate.kinds.teacher import TaughtObjective
from ablate.runtime.isolation import isolated
from ablate.runtime.machine import cache_folder, choose_device, usable
from ablate.runtime.memory import Gauge, out_of_memory
from ablate.study.loaded import LoadedStudy
from ablate.study.plan import candidate_by_name
from ablate.training.beginning import Beginning
from ablate.training.building import new_network
from ablate.training.captured import excluded
from ablate.training.compiled import Compilation
from ablate.training.learner import Learner
from ablate.training.step_profile import StepProfile, profile_steps
from ablate.worker.loading import images_of

IDLE = 0.9  # share of a step below which the device waits for more than can be helped
MANY_COPIES = 0.15  # share of operators' time


@dataclass(frozen=True)
class CandidateProfile:
    """What a training step of a candidate takes. advice: what to do, in order of what it may bring."""

    candidate: str
    batch: int
    micro: int
    step: StepProfile
    memory_bytes: int | None  # that training allocates at its peak; None where the system does not tell
    compilation: Compilation | None
    advice: tuple[str, ...]
    trace: str | None

    @property
    def images_per_second(self) -> float:
        """Training images a second, without the profiler."""
        return self.batch / self.step.step_seconds


def profile_candidate(
    loaded: LoadedStudy, name: str | None, device: str = "auto", steps: int = 10, trace: Path | None = None
) -> CandidateProfile:
    """Profile the training step of a candidate (None: of the baseline) over some steps.

    It trains on the study's data, and keeps nothing but the trace. An objective that learns from a teacher is given an
    untrained one: that takes the same time. Raises InputError where there is no such candidate, where it cannot be
    trained on the device, where memory does not suffice, and where the trace cannot be written.
    """
    if trace is not None and (trace.is_dir() or not trace.absolute().parent.is_dir()):
        raise InputError(f"the trace cannot be written to {trace}: name a file in a folder that exists", "--trace")
    label, candidate = candidate_by_name(loaded, name)
    on = torch.device(choose_device(device))
    if on.type == "mps":
        raise InputError(
            "torch's profiler does not see what runs on mps: profile with --device cpu or cuda", "--device"
        )
    refusal = candidate.precision.refuse_on(on)
    if refusal is not None:
        raise InputError(f"precision {candidate.precision.name!r}: {refusal}", label)
    try:
        with isolated():
            return _profiled(loaded, label, candidate, on, steps, trace)
    except Exception as error:
        if not out_of_memory(error):
            raise
        micro = candidate.pass_images()
        raise InputError(
            f"a step of {micro} images a pass does not fit into the memory of {on.type}: say "
            f"--set base.micro={max(1, micro // 2)}, or recompute: true",
            label,
        ) from error


def _profiled(
    loaded: LoadedStudy, label: str, candidate: Candidate, on: torch.device, steps: int, trace: Path | None
) -> CandidateProfile:
    settings = loaded.trial_settings
    images = images_of(settings.data, str(usable(cache_folder())), on)
    weights: dict[str, Tensor] | None = None
    if isinstance(candidate.objective, TaughtObjective) or candidate.objective.taught_by_start:
        source = candidate.start.backbone or candidate.backbone
        whole = candidate.model_copy(update={"backbone": source})
        weights = new_network(whole, candidate.inputs(settings.setting), 0, on).state_dict()
    memory = Gauge(on)
    memory.begin_training()
    try:
        beginning = None
        if weights is not None and candidate.objective.taught_by_start:
            beginning = Beginning(weights)
            weights = None
        learner = Learner(candidate, settings.setting, images, 0, on, None, weights, beginning=beginning)
        learner.network.train()
        learner.prepare(lambda: None)

        def step() -> None:
            learner.step(math.inf)
            memory.step_done()

        profile = profile_steps(step, on, steps, trace)
    finally:
        memory.end_training()
    compilation = None if learner.compiled is None else learner.compiled.result
    advice = tuple(_advice(loaded, candidate, learner, profile, on))
    where = None if trace is None else str(trace)
    return CandidateProfile(label, candidate.batch, learner.micro, profile, memory.training, compilation, advice, where)


def _advice(
    loaded: LoadedStudy, candidate: Candidate, learner: Learner, profile: StepProfile, on: torch.device
) -> Iterator[str]:
    """Yield what to do, by what was measured."""
    compiled = learner.compiled
    if compiled is not None and compiled.result.eager is not None:
        asked = f"compile: {compiled.result.mode}"
        yield f"the network runs as it is, though {asked} was asked for: {compiled.result.eager}"
    if learner.captured is not None and learner.captured.result.plain is not None:
        yield f"the plain step was taken, though capture: auto was asked for: {learner.captured.result.plain}"
    if profile.busy < IDLE:
        idle = f"for {1 - profile.busy:.0%} of a step the device waits for Python and for launches"
        yield f"{idle}: a larger batch makes each of the {profile.launches:.0f} launches do more"
        if candidate.compile == "none" and not candidate.recompute:
            yield "try --set base.compile=default, which makes fewer launches"
        if on.type == "cuda" and candidate.capture == "none" and excluded(candidate) is None:
            yield "try --set base.capture=auto, which replays the step with one launch"
        if on.type == "cuda":
            yield "try several trials at a time on this device, --workers 2"
    if on.type == "cuda" and (names := _other_formats(loaded, candidate, on)):
        yield f"try another number format that this device computes in by itself: precision: {' or '.join(names)}"
    slow = candidate.precision.warn_on(on)
    if slow is not None:
        yield f"precision: {candidate.precision.name} is slow here: {slow}"
    if candidate.devices > 1:
        yield f"one device was looked at; in a trial, {candidate.devices} share each step"
    elif learner.micro < candidate.batch:
        yield f"a batch is cut into parts of {learner.micro}: leave micro out where memory suffices"
    if candidate.recompute:
        yield "recompute: true takes another forward pass in each step: leave it out where memory suffices"
    if profile.copies > MANY_COPIES:
        yield f"{profile.copies:.0%} of the time goes into copies: see which operator makes them in the trace (--trace)"


def _other_formats(loaded: LoadedStudy, candidate: Candidate, on: torch.device) -> list[str]:
    """Return the precisions that the device has by itself and that are mixed, where the candidate's is not."""
    if _is_mixed(candidate.precision, on):
        return []
    known = [loaded.catalog.create(Precision, name) for name in loaded.catalog.names("precision")]
    return [p.name for p in known if p.refuse_on(on) is None and p.warn_on(on) is None and _is_mixed(p, on)]


def _is_mixed(precision: Precision, on: torch.device) -> bool:
    """Return whether products are computed in another format than that of their factors."""
    with precision.forward(on):
        factor = torch.zeros(2, 2, device=on)
        return (factor @ factor).dtype != factor.dtype
