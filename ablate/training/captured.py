"""The captured step: a training step recorded once as a CUDA graph, and replayed with one launch.

CUDA graphs: Gray 2019, "Getting Started with CUDA Graphs". What follows from the number of the step or of an image is
made outside of the graph, where Python goes on: the draws, the learning rate, the seed of dropout, and the share of the
moving average. Everything else is in it: noise, forward and backward pass, clipping, the optimizer's step. So a
replayed step draws what the plain one draws.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ablate.candidates.candidate import CAPTURED, Candidate
from ablate.kinds.clip import Norms
from ablate.runtime.graph import NO_CUDA, WARM_UP, Capture, CudaGraph, Recorder
from ablate.runtime.host_watch import HostWatch, culprit
from ablate.runtime.memory import out_of_memory
from ablate.spec.explain import exception_summary
from ablate.training.static_draws import StaticDraws
from ablate.training.steps import Learned

if TYPE_CHECKING:
    from ablate.training.learner import Learner

TOLERANCE = 1e-3  # of how far a step moves all weights together: by so much a replay may differ from the plain step


class CapturedStep:
    """Takes a learner's steps by replays, once it has looked whether that gives what the plain step gives.

    recorder: makes what records; of CUDA, where none is given. It belongs to the learner, whose `step` asks it first.
    """

    def __init__(self, learner: Learner, recorder: Callable[[], Recorder] | None = None) -> None:
        self._learner: Learner = weakref.proxy(learner)  # which holds this one, and is to go when nobody needs it
        self._make = recorder
        self._draws = StaticDraws(learner.draws)
        self._recorder: Recorder | None = None
        self._key: tuple[bool, ...] = ()  # which terms the recorded step has
        self._terms: tuple[str, ...] = ()
        self._warm = 0
        self.result = Capture("no step was taken yet")

    def prepare(self) -> None:
        """Find out, before the first step, whether it can be captured; `result.plain` says why not."""
        learner = self._learner
        if self._make is None and learner.device.type == "cuda":
            self._make = lambda: CudaGraph(learner.device)
        self.result = Capture(NO_CUDA if self._make is None else (why_plain(learner) or dry_run(learner)))
        if self.result.plain is None:
            self._read_rates_from_tensors()

    def step(self) -> Learned | None:
        """Take the next step; None where the plain step is to be taken."""
        if self.result.plain is not None or self._make is None:
            return None
        learner = self._learner
        key = tuple(learner.progress < part.until for part in learner.terms.parts)
        if key != self._key:
            self._key, self._recorder, self._warm = key, None, 0
        rate = learner.set_rate()
        self._draws.begin(learner.images_seen)
        if self._recorder is None and self._warm < WARM_UP:
            recorder = self._make()
            learner.seed_dropout()
            values = recorder.warm(self._work)
            self._warm += 1
        else:
            if self._recorder is None and not self._record():
                return None
            assert self._recorder is not None
            learner.seed_dropout()
            self._recorder.replay()
            values = [value.clone() for value in self._recorder.results]
            self.result = Capture(None, self.result.replayed + 1)
        learner.count_step()
        loss, before, after, *means = values
        return Learned(loss, Norms(before, after), rate, dict(zip(self._terms, means, strict=True)))

    def _work(self) -> list[Tensor]:
        """Do the part of a step that is recorded; the numbers of the step."""
        learner, means = self._learner, dict[str, Tensor]()
        with _drawing(learner, self._draws):
            loss = learner.accumulate(*learner.batch(), term_means=means)
        learner.placement.sum(learner.trainable.values(), [loss, *means.values()])
        norms = learner.descend()
        self._terms = tuple(means)
        return [loss, norms.before, norms.after, *means.values()]

    def _record(self) -> bool:
        """Record the step, and compare a replay with the plain step; False where the plain one is to be taken.

        Of either nothing is left.
        """
        learner = self._learner
        assert self._make is not None
        live, before = live_tensors(learner), list[Tensor]()
        try:
            before = [value.clone() for value in live]
            plain = self._moved(live, before, self._work)
            recorder = self._make()
            learner.seed_dropout()
            recorder.record(self._work)
            _restore(live, before)  # a tape has done the work
            replayed = self._moved(live, before, recorder.replay)
            apart = _length([a - b for a, b in zip(plain, replayed, strict=True)])
        except RuntimeError as error:
            learner.optimizer.zero_grad(set_to_none=True)
            _restore(live[: len(before)], before)
            if out_of_memory(error):
                return self._give_up("memory does not suffice for the graph beside the training")
            return self._give_up(f"torch could not capture it: {exception_summary(error).splitlines()[0][:200]}")
        if not apart <= TOLERANCE * _length(plain):
            return self._give_up("a replayed step gave other weights than the plain one")
        self._recorder = recorder
        return True

    def _moved(self, live: list[Tensor], before: list[Tensor], step: Callable[[], object]) -> list[Tensor]:
        """Take a step, and take it back; return by how much it moved the trained parameters."""
        learner = self._learner
        learner.seed_dropout()
        start = [p.detach().clone() for p in learner.parameters]
        step()
        moved = [p.detach() - value for p, value in zip(learner.parameters, start, strict=True)]
        _restore(live, before)
        return moved

    def _give_up(self, why: str) -> bool:
        self.result = Capture(why, self.result.replayed)
        return False

    def _read_rates_from_tensors(self) -> None:
        """Let the optimizer read its rates from tensors on the device, where the next one is put before each step."""
        learner = self._learner
        for group in learner.optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=learner.device)
            group["capturable"] = learner.device.type == "cuda"
        learner.optimizer._warned_capturable_if_run_uncaptured = True


def why_plain(learner: Learner) -> str | None:
    """Return why a candidate's step cannot be captured, by what its parts say; None where nothing speaks against it."""
    said = excluded(learner.candidate)
    if said is not None:
        return said
    if learner.data.stored.device.type != learner.device.type:
        return "the training images do not fit on the device, and are fetched by the host in each step"
    optimizer = learner.candidate.optimizer
    if not all("capturable" in group for group in learner.optimizer.param_groups):
        return f"{optimizer.kind} {optimizer.name!r} computes with numbers of the host's (torch cannot capture it)"
    if learner.placement.group is not None and learner.device.type == "cuda":
        return "its steps are shared by several devices"
    return None


def excluded(candidate: Candidate) -> str | None:
    """Return which option or component of a candidate does not go with a captured step, and why; None if none does."""
    if candidate.recompute:
        return "recompute: true keeps the states of generators on the host"
    if candidate.devices > 1:
        return f"devices: {candidate.devices} share its steps"
    for _, part in candidate.parts():
        if (why := part.excludes().get(CAPTURED)) is not None:
            return f"{part.kind} {part.name!r}: {why}"
    return None


def dry_run(learner: Learner) -> str | None:
    """Return what in a step reads numbers on the host, or makes them there, and who does; None where nothing does.

    The passes of a step are run three times, of which nothing is left; the optimizer's step is not.
    """
    if learner.companion is not None or learner.sibling is not None:
        guidance = learner.candidate.guidance
        return f"{guidance.kind} {guidance.name!r} trains a network of its own beside"
    parts = [part for _, part in learner.candidate.parts()]
    draws, compiled = StaticDraws(learner.draws), learner.compiled
    held = [(b, b.clone()) for module in (learner.network, learner.terms) for b in module.buffers()]
    first, horizon = learner.steps_done, learner.horizon
    watch: HostWatch | None = None
    learner.compiled = None
    try:
        with _drawing(learner, draws):
            draws.begin(learner.images_seen)
            learner.accumulate(*learner.batch())  # what it draws is known from here on
            for _ in range(2):
                learner.optimizer.zero_grad(set_to_none=True)
                learner.steps_done += 1
                draws.begin(learner.images_seen)
                learner.seed_dropout()
                watch = HostWatch(learner.device, None if watch is None else watch.operators)
                learner.notice_progress = watch.note_progress
                with watch:
                    learner.accumulate(*learner.batch())
                    learner.candidate.clip.apply(learner.trainable)
                if watch.found is not None:
                    return culprit(watch.found, parts)
    finally:
        learner.compiled, learner.notice_progress = compiled, None
        learner.steps_done, learner.horizon = first, horizon
        learner.optimizer.zero_grad(set_to_none=True)
        _restore([b for b, _ in held], [value for _, value in held])
    return None


def live_tensors(learner: Learner) -> list[Tensor]:
    """Return all tensors that a step changes in place."""
    modules = [m for m in (learner.network, learner.uncertainty, learner.terms) if m is not None]
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    tensors += [v for state in learner.optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
    scale = [getattr(learner.scaler, name, None) for name in ("_scale", "_growth_tracker")]
    return [value.detach() for value in (*tensors, *scale) if isinstance(value, Tensor)]


@contextlib.contextmanager
def _drawing(learner: Learner, draws: StaticDraws) -> Iterator[None]:
    """Let the learner draw from other streams within a `with`."""
    before, learner.draws = learner.draws, draws
    try:
        yield
    finally:
        learner.draws = before


@torch.no_grad()
def _restore(live: list[Tensor], values: list[Tensor]) -> None:
    for tensor, value in zip(live, values, strict=True):
        tensor.copy_(value)


def _length(tensors: list[Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(tensors))
