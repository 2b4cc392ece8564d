"""Where a training went out of range: the first module, in the order of computation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.train import Learner


def first_bad_module(learner: Learner) -> tuple[str | None, str]:
    """Repeat the learner's next step under watch; (module, what is not finite there).

    The learner stands just before the step that gave a loss or gradient that is not finite. The
    module is None where the repetition stays finite.
    """
    for name, parameter in learner.network.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return name.rpartition(".")[0], f"the parameter {name} is not finite"
    found: list[str] = []
    hooks = [m.register_forward_hook(_watch(name, found)) for name, m in learner.network.named_modules() if name]
    try:
        noised, labels = learner.batch()
        prediction = learner.process.predict(learner.predict, noised.x, noised.level, labels)
        loss = learner.candidate.loss.compute(prediction, noised, learner.process)
        if found:
            return found[0], f"the output of {found[0]} is not finite"
        if not bool(torch.isfinite(loss).all()):
            return "loss", "the network's output is finite, the loss is not"
        (loss.sum() / learner.candidate.batch).backward()  # type: ignore[no-untyped-call]
        for name, parameter in reversed(list(learner.network.named_parameters())):
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                return name.rpartition(".")[0], f"the gradient of {name} is not finite"
        return None, "the step was finite when it was repeated"
    finally:
        for hook in hooks:
            hook.remove()
        learner.optimizer.zero_grad(set_to_none=True)


def _watch(name: str, found: list[str]):  # type: ignore[no-untyped-def]
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.is_floating_point() and not bool(torch.isfinite(output).all()):
            found.append(name)

    return hook
