"""The terms that a training minimises: the modules of objective and auxiliaries, and the model as they see it."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from ablate.candidates.candidate import Candidate, host_of
from ablate.kinds.auxiliary import Auxiliary
from ablate.kinds.backbone import network_blocks
from ablate.kinds.conditions import Labels, are_dropped, told_on_meta, without
from ablate.kinds.noised import Level, Noised
from ablate.kinds.objective import Host, Pictures
from ablate.kinds.process import Network, Process
from ablate.kinds.routing import HidesPatches, hiding
from ablate.kinds.teacher import TaughtObjective
from ablate.runtime.randomness import RandomStreams
from ablate.spec.component import Component, InputSpec

Build = Callable[[Component, Callable[[], nn.Module]], nn.Module]
NO_PASS = "there was no shared pass yet: the objective has not called `model.predict`"
STREAM = "objective"  # what terms draw has names of its own


class StepModel:
    """The model within one part of a training step (`ablate.kinds.objective.Model`): what terms call, and share.

    predict: the network in training, (x, c_noise, labels, ...) -> output. averaged: the weights of the average. sites:
    the blocks whose activations are kept of the first pass. null: the null class. teacher: the frozen network that an
    objective learns from, if there is one. hiding: what hides patches within the network, if something does.
    notice_progress: called where a term reads `progress`. It is made anew for each part, and holds what they share.
    """

    def __init__(
        self,
        candidate: Candidate,
        process: Process,
        network: nn.Module,
        predict: Network,
        precision: Callable[[], AbstractContextManager[Any]],
        averaged: Callable[[], Mapping[str, Tensor]],
        draws: RandomStreams,
        sites: Mapping[str, nn.Module],
        progress: float = 0.0,
        null: int = 0,
        teacher: nn.Module | None = None,
        hiding: HidesPatches | None = None,
        notice_progress: Callable[[], None] | None = None,
    ) -> None:
        self.process = process
        self.loss = candidate.loss
        self.done = progress
        self._notice_progress = notice_progress
        self.precision = precision
        self._candidate = candidate
        self._network = network
        self._predict = predict
        self._averaged = averaged
        self._draws = draws
        self._sites = sites
        self._null = null
        self._teacher = teacher
        self._hiding = hiding
        self._prediction: Tensor | None = None
        self._hidden: Tensor | None = None
        self._activations: dict[str, Tensor] = {}

    @property
    def progress(self) -> float:
        """The share that is done; whoever wants to know that a term reads it is told."""
        if self._notice_progress is not None:
            self._notice_progress()
        return self.done

    def predict(self, x: Tensor, level: Level, labels: Labels, towards: Level | None = None) -> Tensor:
        """The prediction; of the first call of a step the activations are kept, and what was hidden."""
        if self._prediction is not None:
            return self.process.predict(self._predict, x, level, labels, towards)
        with _noted(self._sites, self._activations):
            self._prediction = self.process.predict(self._predict, x, level, labels, towards)
        patches = None if self._hiding is None else self._hiding.hidden_patches()
        self._hidden = None if patches is None else _at_pixels(patches, x)
        return self._prediction

    @torch.no_grad()
    def averaged(self, x: Tensor, level: Level, labels: Labels, towards: Level | None = None) -> Tensor:
        """The prediction of the averaged weights."""
        weights = self._averaged()

        def network(*inputs: Any) -> Tensor:
            with self.precision():
                output: Tensor = functional_call(self._network, dict(weights), inputs)
            return output

        return self.process.predict(network, x, level, labels, towards)

    @torch.no_grad()
    def detached(self, x: Tensor, level: Level, labels: Labels, towards: Level | None = None) -> Tensor:
        """The prediction of the weights as they are."""
        return self.process.predict(self._predict, x, level, labels, towards)

    @torch.no_grad()
    def teacher(self, x: Tensor, level: Level, labels: Labels, towards: Level | None = None) -> Tensor:
        """The prediction of the teacher."""
        teacher = self._teacher
        if teacher is None:
            raise RuntimeError("there is no teacher: it is the network that a `TaughtObjective` learns from")

        def network(*inputs: Tensor | None) -> Tensor:
            with self.precision():
                output: Tensor = teacher(*inputs)
            return output

        return self.process.predict(network, x, level, labels, towards)

    @torch.no_grad()
    def derivative(
        self, x: Tensor, t: Tensor, labels: Labels, along: Tensor, towards: Level | None = None
    ) -> tuple[Tensor, Tensor]:
        """Prediction and derivative, by dual numbers; fused attention has no such derivative, so it is not fused."""
        # There are no dual numbers there. Counted is what the method takes: as much again as the value. Torch also
        # multiplies the tangents of weights, which are zeros: a step with derivatives takes up to a fifth more.
        if x.is_meta:
            passes = (self.process.predict(self._network, x, self.process.level(t), labels, towards) for _ in range(2))
            return next(passes), next(passes)
        with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
            at, time = _dual(x, along), _dual(t, torch.ones_like(t))
            predicted = self.process.predict(self._network, at, self.process.level(time), labels, towards)
            value, slope = forward_ad.unpack_dual(predicted)  # type: ignore[no-untyped-call]
        if slope is None:
            raise RuntimeError("the network's output does not depend on its input in a way that can be differentiated")
        return value, slope

    def dropped(self, labels: Labels) -> Labels:
        """The null class for each image."""
        return without(labels, self._null)

    def is_dropped(self, labels: Labels) -> Tensor:
        """Where it stands already."""
        return are_dropped(labels, self._null)

    def level(self, uniform: Tensor) -> Level:
        """Levels by the candidate's density."""
        return self.process.level(self._candidate.levels.draw(uniform, self._candidate.schedule))

    def uniform(self, stream: str, noised: Noised) -> Tensor:
        """Numbers by the images' numbers in the training."""
        if noised.x.is_meta or noised.origin is None:
            return torch.rand(len(noised.x), dtype=torch.float64, device=noised.x.device)
        return self._draws.uniform(f"{STREAM}/{stream}", noised.origin.first, len(noised.x), torch.float64)

    @property
    def prediction(self) -> Tensor:
        """Of the shared pass."""
        if self._prediction is None:
            raise RuntimeError(NO_PASS)
        return self._prediction

    @property
    def hidden(self) -> Tensor | None:
        """Of the shared pass."""
        if self._prediction is None:
            raise RuntimeError(NO_PASS)
        return self._hidden

    def activation(self, site: str) -> Tensor:
        """Of the shared pass, at a block that the term named in `sites`."""
        if site not in self._activations:
            known = ", ".join(self._activations) or "none"
            raise RuntimeError(f"no activation was kept at {site!r} (kept: {known}): name it in `sites`")
        return self._activations[site]


class Terms(nn.Module):
    """What a candidate's training minimises: the built objective, and the built auxiliaries with their weights."""

    def __init__(self, candidate: Candidate, setting: InputSpec, build: Build) -> None:
        super().__init__()
        parts: tuple[Auxiliary, ...] = candidate.auxiliary
        host = Host(setting, {}) if candidate.one_pass else host_of(candidate.backbone, setting)
        self.candidate = candidate
        self.parts = parts
        self.names = _unlike(part.name for part in parts)
        self.sites = {*candidate.objective.sites(host), *(site for part in parts for site in part.sites(host))}
        self.objective = build(candidate.objective, lambda: candidate.objective.build(host))
        self.auxiliary = nn.ModuleList(_built(part, host, build) for part in parts)

    def forward(self, noised: Noised, labels: Labels, model: StepModel) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of each image, (B,), and each term by name; no term where the loss is a single one."""
        terms = dict(self.objective(noised, labels, model))
        loss = _sum(terms.values())
        for part, name, module in zip(self.parts, self.names, self.auxiliary, strict=True):
            if part.weight > 0 and model.done < part.until:
                terms[name] = module(noised, labels, model)
                loss = loss + part.weight * terms[name]
        return loss, terms if len(terms) > 1 else {}

    def blocks(self, network: nn.Module) -> dict[str, nn.Module]:
        """Return the blocks of a network whose activations are read, {name: block}."""
        if not self.sites:
            return {}
        return {name: block for name, block in network_blocks(network).items() if name in self.sites}

    def prepare(self, pictures: Pictures) -> None:
        """Let objective and auxiliaries compute what they need of the training images."""
        self.candidate.objective.prepare(self.objective, pictures)
        for part, module in zip(self.parts, self.auxiliary, strict=True):
            part.prepare(module, pictures)


def _dual(value: Tensor, slope: Tensor) -> Tensor:
    """Return a dual number. The first one in a process loads torch's own derivatives, which warn of their age."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        dual: Tensor = forward_ad.make_dual(value, slope)  # type: ignore[no-untyped-call]
    return dual


def _built(part: Auxiliary, host: Host, build: Build) -> nn.Module:
    return build(part, lambda: part.build(host))


def _sum(values: Iterable[Tensor]) -> Tensor:
    first, *others = values
    for value in others:
        first = first + value
    return first


def _unlike(names: Iterable[str]) -> list[str]:
    """Return names that differ: `repa`, `repa_2`."""
    seen: dict[str, int] = {}
    unlike = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unlike.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unlike


def _at_pixels(patches: Tensor, x: Tensor) -> Tensor:
    """Return what is said of each patch at each of its pixels: (B, rows, columns), (B, C, H, W) -> (B, 1, H, W)."""
    (count, rows, columns), (height, width) = patches.shape, x.shape[2:]
    wide = patches[:, :, None, :, None].expand(-1, -1, height // rows, -1, width // columns)
    return wide.reshape(count, 1, height, width)


def teacher_like(candidate: Candidate, network: nn.Module, setting: InputSpec | None = None) -> nn.Module | None:
    """Return a frozen copy of the network for a candidate whose objective has a teacher; None for another one.

    setting: of the inputs, for a teacher that is another network, with weights of its own: for counting alone.
    """
    if candidate.objective.taught_by_start and candidate.start.backbone is not None and setting is not None:
        return candidate.start.backbone.build(setting).eval().requires_grad_(False)
    if not isinstance(candidate.objective, TaughtObjective) and not candidate.objective.taught_by_start:
        return None
    return copy.deepcopy(network).eval().requires_grad_(False)


def simulated_loss(
    candidate: Candidate,
    setting: InputSpec,
    network: nn.Module,
    terms: Terms,
    count: int,
    predict: Network,
    precision: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    teacher: nn.Module | None = None,
) -> Tensor:
    """Compute the loss of a batch of `count` images on the meta device: shapes without numbers."""
    meta = torch.device("meta")
    x0, noise = torch.empty(2, count, *setting.shape, device=meta)
    labels = told_on_meta(setting, count)
    process = candidate.process(1.0)
    noised = process.diffuse(x0, noise, process.level(torch.empty(count, dtype=torch.float64, device=meta)))
    draws = RandomStreams(0, meta)
    averaged = dict(network.named_parameters())
    blocks = terms.blocks(network)
    model = StepModel(
        candidate,
        process,
        network,
        predict,
        precision,
        lambda: averaged,
        draws,
        blocks,
        null=setting.classes or 0,
        teacher=teacher,
        hiding=hiding(network),
    )
    loss: Tensor = terms(noised, labels, model)[0].mean()
    return loss


@contextlib.contextmanager
def _noted(sites: Mapping[str, nn.Module], activations: dict[str, Tensor]) -> Iterator[None]:
    """Keep what the blocks give, within a `with`; no hook is left behind."""

    def note(name: str) -> Callable[[nn.Module, object, Any], None]:
        def hook(module: nn.Module, inputs: object, output: Any) -> None:
            activations[name] = output

        return hook

    handles = [block.register_forward_hook(note(name)) for name, block in sites.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
