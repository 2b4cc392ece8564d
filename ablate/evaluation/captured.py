"""Captured evaluations: a network's evaluations in sampling, recorded once for each shape of a batch, and replayed.

What a solver and its guidance ask of a network at each step differs in numbers alone: x, the noise label c_noise, the
labels. These are put into tensors that stay where they are, and the network is replayed with one launch (CUDA graphs:
Gray 2019). What stands around it, preconditioning and the arithmetic of guidance and solver, goes on with the level as
a number of the host's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ablate.candidates.candidate import CAPTURED, Candidate
from ablate.kinds.guidance import TrainedGuidance
from ablate.kinds.process import Network
from ablate.runtime.graph import NO_CUDA, WARM_UP, Capture, CudaGraph, Recorder
from ablate.runtime.host_watch import HostWatch, culprit
from ablate.runtime.memory import out_of_memory
from ablate.spec.component import Component
from ablate.spec.explain import exception_summary

TOLERANCE = 1e-3  # of an output's norm: by so much a replay may differ from the plain evaluation
TOLD = "the network is told more than a class"
DRAWS = "draws random numbers in each evaluation"
Inputs = tuple[Tensor | None, ...]


class CapturedSampling:
    """Replays the evaluations of networks in the sampling of one candidate, and remembers what came of it.

    recorder: makes what records; of CUDA, where none is given.
    """

    def __init__(
        self, candidate: Candidate, device: torch.device, recorder: Callable[[], Recorder] | None = None
    ) -> None:
        if recorder is None and device.type == "cuda":
            recorder = lambda: CudaGraph(device)  # noqa: E731
        self._make = recorder
        self.device = device
        self.parts = [part for _, part in candidate.parts()]
        self.result = Capture(NO_CUDA if recorder is None else excluded(candidate))

    def over(self, network: Network, module: nn.Module) -> Network:
        """Return a network that is replayed where that can be, and else evaluated as it is. module: what it calls."""
        return _Replayed(self, network, module) if self.result.plain is None else network

    def recorder(self) -> Recorder:
        """Make what records one evaluation."""
        assert self._make is not None, "asked where evaluations are plain"
        return self._make()

    def give_up(self, why: str) -> None:
        """Evaluate plainly from here on."""
        self.result = Capture(why, self.result.replayed)


class _Replayed:
    """One network, with a recording for each shape of its inputs."""

    def __init__(self, sampling: CapturedSampling, network: Network, module: nn.Module) -> None:
        self._sampling = sampling
        self._network = network
        self._module = module
        self._recordings: dict[object, _Recording] = {}

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        """Evaluate the network; the output is the caller's own."""
        sampling = self._sampling
        if sampling.result.plain is not None or torch.is_grad_enabled():
            output: Tensor = self._network(*inputs)
            return output
        if not all(isinstance(value, Tensor | None) for value in inputs):
            sampling.give_up(TOLD)
            return self(*inputs)
        if not self._recordings and (why := look(self._network, self._module, inputs, sampling.device, sampling.parts)):
            sampling.give_up(why)
            return self(*inputs)
        key = tuple(None if value is None else (value.shape, value.dtype) for value in inputs)
        if key not in self._recordings:
            self._recordings[key] = _Recording(sampling, self._network, self._module, inputs)
        return self._recordings[key].evaluate(inputs)


class _Recording:
    """The evaluations of one network on inputs of one shape."""

    def __init__(self, sampling: CapturedSampling, network: Network, module: nn.Module, inputs: Inputs) -> None:
        self._sampling = sampling
        self._network = network
        self._module = module
        self._given = tuple(None if value is None else value.clone() for value in inputs)
        self._recorder: Recorder | None = None
        self._warm = 0

    def evaluate(self, inputs: Inputs) -> Tensor:
        """Evaluate the network: plainly at first, then by replays."""
        for place, value in zip(self._given, inputs, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        if self._recorder is None:
            if self._warm < WARM_UP:
                self._warm += 1
                return self._sampling.recorder().warm(self._work)[0].clone()
            if not self._record():
                return self._work()[0]
        assert self._recorder is not None
        self._recorder.replay()
        self._sampling.result = Capture(None, self._sampling.result.replayed + 1)
        return self._recorder.results[0].clone()

    def _work(self) -> list[Tensor]:
        return [self._network(*self._given)]

    def _record(self) -> bool:
        """Record an evaluation, and compare a replay with the plain one; False where it is to be plain."""
        held = _Held(self._module)
        try:
            plain = self._work()[0].clone()
            held.restore()
            recorder = self._sampling.recorder()
            recorder.record(self._work)
            held.restore()
            recorder.replay()
            apart = float((recorder.results[0] - plain).float().norm())
        except RuntimeError as error:
            if out_of_memory(error):
                self._sampling.give_up("memory does not suffice for the graph beside the network")
            else:
                why = exception_summary(error).splitlines()[0][:200]
                self._sampling.give_up(f"torch could not capture an evaluation: {why}")
            return False
        finally:
            held.restore()
        if not apart <= TOLERANCE * float(plain.float().norm()):
            self._sampling.give_up("a replayed evaluation gave another output than the plain one")
            return False
        self._recorder = recorder
        return True


class _Held:
    """A network's buffers as they are now."""

    def __init__(self, module: nn.Module) -> None:
        self._buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]

    @torch.no_grad()
    def restore(self) -> None:
        """Bring them back."""
        for buffer, value in self._buffers:
            buffer.copy_(value)


def excluded(candidate: Candidate) -> str | None:
    """Return which component of a candidate keeps its evaluations from being captured, and why; None if none does.

    What has a part in training alone is not asked.
    """
    guidance = candidate.guidance
    if isinstance(guidance, TrainedGuidance):
        return f"guidance {guidance.name!r} takes the gradient of a network of its own"
    for part in (candidate.backbone, guidance):
        for _, inner in part.parts():
            if (why := inner.excludes().get(CAPTURED)) is not None:
                return f"{inner.kind} {inner.name!r}: {why}"
    return None


def look(
    network: Network, module: nn.Module, inputs: Inputs, device: torch.device, parts: Sequence[Component]
) -> str | None:
    """Return what in an evaluation reads numbers on the host, makes them there, or draws; None where nothing does.

    It is evaluated twice, of which nothing is left.
    """
    held, before = _Held(module), _generators(device)
    watch: HostWatch | None = None
    try:
        for _ in range(2):
            watch = HostWatch(device, None if watch is None else watch.operators)
            with watch:
                network(*inputs)
            if watch.found is not None:
                return culprit(watch.found, parts)
    finally:
        held.restore()
    after = _generators(device)
    return None if all(map(torch.equal, before, after)) else f"the network {DRAWS}"


def _generators(device: torch.device) -> list[Tensor]:
    """Return the states of torch's generators of the CPU and of the device."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
