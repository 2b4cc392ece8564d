"""What a training is built from: modules with their initial weights, optimizer and averages.

All of it is built by components, whose code may not change what is global.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate, format_component
from ablate.errors import InputError
from ablate.kinds.ema import Average
from ablate.kinds.guidance import TrainedGuidance
from ablate.kinds.parameters import Parameters, trained_parameters
from ablate.kinds.process import Process
from ablate.runtime.isolation import Watch
from ablate.runtime.randomness import seed_everything
from ablate.spec.component import Component, InputSpec
from ablate.training.beginning import Beginning
from ablate.training.companion import CompanionLearner
from ablate.training.inheritance import Inheritance
from ablate.training.terms import Terms, teacher_like
from ablate.training.widths import base_shapes


@dataclass(frozen=True)
class Modules:
    """The modules of a training. process: the diffusion process, which asks what the weighting trains."""

    network: nn.Module
    teacher: nn.Module | None  # from which the objective learns
    uncertainty: Any  # what the weighting trains; None: nothing
    process: Process
    companion: CompanionLearner | None  # what guidance trains beside the network
    terms: Terms  # of the objective and the auxiliary losses


def build_modules(
    candidate: Candidate,
    setting: InputSpec,
    sigma_data: float,
    seed: int,
    device: torch.device,
    home: torch.device,
    teacher: Mapping[str, Tensor] | None,
    beginning: Beginning | Inheritance | None,
    stream: str,
    watch: Watch,
) -> Modules:
    """Build the modules of a candidate's training on the device; its network then goes `home`.

    teacher, beginning: weights as `Learner` takes them. stream: prefix of the streams of initial weights.
    """
    network = new_network(candidate, setting, seed, device, watch, f"{stream}weights")
    if candidate.layout == "channels_last":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    taught: nn.Module | None = None
    if teacher is not None:
        network.load_state_dict(dict(teacher))
        taught = teacher_like(candidate, network)
    if beginning is not None:
        beginning.enter(network)
        taught = beginning.teacher(candidate, setting, device)
    if candidate.adapter.freezes:
        adapt(candidate, network, seed, device, watch)
    if home != device:
        network.to(home)
    seed_everything(seed, f"{stream}uncertainty", 0)
    uncertainty = build_part(candidate.weighting, candidate.weighting.build, device, watch)
    process = candidate.process(sigma_data, uncertainty)
    companion: CompanionLearner | None = None
    if isinstance(candidate.guidance, TrainedGuidance):
        with watch.over(f"{format_component(candidate.guidance)}, while its companion is built,"):
            companion = CompanionLearner(candidate.guidance, process, setting, seed, device)
    seed_everything(seed, f"{stream}objective", 0)
    terms = Terms(candidate, setting, lambda part, build: build_part(part, build, device, watch))
    return Modules(network, taught, uncertainty, process, companion, terms)


@dataclass(frozen=True)
class Holders:
    """What holds a training's parameters, as they lie when it is built."""

    parameters: Parameters
    trainable: dict[str, nn.Parameter]  # by name; the network's last layer comes last
    optimizer: torch.optim.Optimizer
    average: Average


def build_holders(candidate: Candidate, setting: InputSpec, modules: Modules, watch: Watch) -> Holders:
    """Build a candidate's optimizer and averages over the parameters of its modules."""
    network = modules.network
    beside = {"uncertainty": modules.uncertainty, "objective": modules.terms}
    parameters = trained_parameters(network, beside, base_shapes(candidate, setting))
    with watch.over(f"{format_component(candidate.optimizer)}, while it is built,"):
        optimizer = candidate.optimizer.build(parameters)
    by_name = {
        f"{prefix}.{name}": parameter
        for prefix, module in beside.items()
        if module is not None
        for name, parameter in module.named_parameters()
    }
    by_name |= dict(network.named_parameters())
    trainable = {name: p for name, p in by_name.items() if p.requires_grad}
    with watch.over(f"{format_component(candidate.ema)}, while it is built,"):
        average = candidate.ema.build(dict(network.named_parameters()))
    return Holders(parameters, trainable, optimizer, average)


def new_network(
    candidate: Candidate,
    setting: InputSpec,
    seed: int,
    device: torch.device,
    watch: Watch | None = None,
    stream: str = "weights",
) -> nn.Module:
    """Build the network of a candidate with the initial weights of the trial of that seed."""
    seed_everything(seed, stream, 0)
    backbone = candidate.backbone
    network: nn.Module = build_part(backbone, lambda: backbone.build(setting), device, watch or Watch())
    return network


def build_part(part: Component, build: Callable[[], Any], device: torch.device, watch: Watch) -> Any:
    """Build what a component describes on the device. Raises GlobalStateError where that changes what is global."""

    def make() -> Any:
        with device:
            return build()

    with watch.over(f"{format_component(part)}, while it is built,", make):
        return make()


def adapt(candidate: Candidate, network: nn.Module, seed: int, device: torch.device, watch: Watch) -> None:
    """Let the adapter change the network. Raises InputError where that has nothing to adapt."""
    adapter = candidate.adapter
    seed_everything(seed, "adapter", 0)
    with watch.over(f"{format_component(adapter)}, while it is built,"), device:
        try:
            adapter.apply(network)
        except ValueError as error:
            raise InputError(str(error), f"adapter {adapter.name!r}") from None
