"""Where a training went out of range: the first module, in the order of computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ablate.train import Learner

NETWORK = "network"  # the network itself: what it computes outside of its modules


def first_bad_module(learner: Learner) -> tuple[str | None, str]:
    """Repeat the learner's next step under watch; (module, what is not finite there).

    The learner stands just before the step that gave a loss or gradient that is not finite. The
    module is `loss` where the network's output is finite, and None where the repetition stays finite.
    """
    for name, parameter in learner.network.named_parameters():
        if not _finite(parameter):
            return _owner(name), f"the parameter {name} is not finite"
    found: list[str] = []
    hooks = [m.register_forward_hook(_watch(name or NETWORK, found)) for name, m in learner.network.named_modules()]
    try:
        loss = learner.gradients(*learner.batch())
    finally:
        for hook in hooks:
            hook.remove()
    if found:
        return found[0], f"the output of {found[0]} is not finite"
    if not _finite(loss):
        return "loss", "the network's output is finite, the loss is not"
    for name, parameter in reversed(list(learner.network.named_parameters())):
        if parameter.grad is not None and not _finite(parameter.grad):
            return _owner(name), f"the gradient of {name} is not finite"
    return None, "the step was finite when it was repeated"


def _watch(name: str, found: list[str]) -> Callable[[nn.Module, object, object], None]:
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        if not _finite(output):
            found.append(name)

    return hook


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0] or NETWORK


def _finite(output: object) -> bool:
    """Whether all numbers are, in a tensor or in what holds tensors."""
    if isinstance(output, Tensor):
        return not output.is_floating_point() or bool(torch.isfinite(output).all())
    if isinstance(output, Mapping):
        return all(map(_finite, output.values()))
    return not isinstance(output, list | tuple) or all(map(_finite, output))
