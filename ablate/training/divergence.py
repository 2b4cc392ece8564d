"""Diagnosis of a divergence: the first module whose output, or gradient, is not finite (NaN or infinity)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ablate.training.companion import CompanionLearner
from ablate.training.health import Diagnosis
from ablate.training.learner import Learner

NETWORK = "network"  # the network itself: what it computes outside of its modules
COMPANION = "companion"  # the network that guidance trains beside it
SIBLING = "sibling"  # the same, where it is a smaller one of its kind
WORST = 4  # images of the batch whose noise levels are told


class StepDiagnosis(NamedTuple):
    """The diagnosis of a diverged training step: which module is not finite, and at which noise levels."""

    module: str | None  # `loss` where the network's output is finite; None where the repetition stays finite
    message: str
    log_snr: tuple[float, float] | None = None  # the batch's lowest and highest
    worst: tuple[tuple[float, float], ...] = ()  # (log SNR, loss) of the images with the worst loss

    def record(self) -> Diagnosis:
        """Return the diagnosis as JSON; a number that is not finite is null."""
        worst: list[dict[str, float | None]] = [
            {"log_snr": snr, "loss": loss if math.isfinite(loss) else None} for snr, loss in self.worst
        ]
        span = None if self.log_snr is None else list(self.log_snr)
        return {"module": self.module, "message": self.message, "log_snr": span, "worst": worst}


def examine(learner: Learner) -> StepDiagnosis:
    """Repeat the learner's next step with hooks on every module, and return what is not finite.

    The learner stands just before the step that gave a loss or gradient that is not finite. The levels
    are those of the batch; the worst images are those without a finite loss, then those with the largest.
    """
    noised, labels = learner.batch()
    losses: list[Tensor] = []
    with _watched(learner.network, NETWORK) as bad_modules:
        total = learner.gradients(noised, labels, losses)
    image_losses = torch.cat(losses).cpu().double()
    snr = noised.level.log_snr.cpu()
    order = image_losses.nan_to_num(nan=math.inf).argsort(descending=True, stable=True)[:WORST]
    worst = tuple(zip(snr[order].tolist(), image_losses[order].tolist(), strict=True))
    module, message = _of_network(learner, bad_modules, total)
    learner.optimizer.zero_grad(set_to_none=True)
    if module is None and learner.companion is not None:
        module, message = _of_companion(learner.companion, learner, message)
    elif module is None and learner.sibling is not None:
        module, message = _of_sibling(learner.sibling.learner, learner, message)
    return StepDiagnosis(module, message, (float(snr.min()), float(snr.max())), worst)


def weight_norm(network: nn.Module) -> float | None:
    """Return the L2 norm of all parameters as one vector; None where it is not finite."""
    norm = float(torch.nn.utils.get_total_norm([p.detach() for p in network.parameters()]))
    return norm if math.isfinite(norm) else None


def _of_network(learner: Learner, bad_modules: list[str], loss: Tensor) -> tuple[str | None, str]:
    parameters = list(learner.network.named_parameters())
    for name, parameter in parameters:
        if not _finite(parameter):
            return _owner(name, NETWORK), f"the parameter {name} is not finite"
    if bad_modules:
        return bad_modules[0], f"the output of {bad_modules[0]} is not finite"
    if not _finite(loss):
        return "loss", "the network's output is finite, the loss is not"
    for name, parameter in reversed(parameters):
        if parameter.grad is not None and not _finite(parameter.grad):
            return _owner(name, NETWORK), f"the gradient of {name} is not finite"
    return None, "the step was finite when it was repeated"


def _of_companion(companion: CompanionLearner, learner: Learner, otherwise: str) -> tuple[str | None, str]:
    """Diagnose the network that guidance has of its own; it has not yet seen this batch."""
    beside = f"the network of guidance {learner.candidate.guidance.name!r}"
    parameters = list(companion.network.named_parameters(prefix=COMPANION))
    for name, parameter in parameters:
        if not _finite(parameter):
            return _owner(name, COMPANION), f"{beside}: the parameter {name} is not finite"
    with _watched(companion.network, COMPANION) as bad_modules:
        loss = companion.gradients(learner.parts(*learner.batch()), learner.candidate.batch)
    if bad_modules:
        return bad_modules[0], f"{beside}: the output of {bad_modules[0]} is not finite"
    if not _finite(loss):
        return COMPANION, f"{beside}: its output is finite, its loss is not"
    return None, otherwise


def _of_sibling(sibling: Learner, learner: Learner, otherwise: str) -> tuple[str | None, str]:
    """Diagnose the smaller network that guidance goes away from; it has not yet seen this batch."""
    sibling.network.train()
    with _watched(sibling.network, SIBLING) as bad_modules:
        total = sibling.gradients(*learner.batch())
    module, message = _of_network(sibling, bad_modules, total)
    if module is None:
        return None, otherwise
    inside = module if module.startswith(SIBLING) else f"{SIBLING}.{module}"
    return inside, f"the sibling of guidance {learner.candidate.guidance.name!r}: {message}"


@contextlib.contextmanager
def _watched(network: nn.Module, root: str) -> Iterator[list[str]]:
    """Collect, within a `with`, the names of modules whose output is not finite, in the order of computation."""
    bad_modules: list[str] = []
    prefix = "" if root == NETWORK else f"{root}."
    hooks = [
        module.register_forward_hook(_watch(f"{prefix}{name}" if name else root, bad_modules))
        for name, module in network.named_modules()
    ]
    try:
        yield bad_modules
    finally:
        for hook in hooks:
            hook.remove()


def _watch(name: str, bad_modules: list[str]) -> Callable[[nn.Module, object, object], None]:
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        if not _finite(output):
            bad_modules.append(name)

    return hook


def _owner(parameter: str, otherwise: str) -> str:
    return parameter.rpartition(".")[0] or otherwise


def _finite(output: object) -> bool:
    """Return whether all numbers are finite, in a tensor or in a structure of tensors."""
    if isinstance(output, Tensor):
        return not output.is_floating_point() or bool(torch.isfinite(output).all())
    if isinstance(output, Mapping):
        return all(map(_finite, output.values()))
    return not isinstance(output, list | tuple) or all(map(_finite, output))
