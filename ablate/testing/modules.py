"""What checks of modules over tokens share: modules somewhere in training, gradients, states, images by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ablate.runtime.randomness import seed_all
from ablate.testing.case import SEED
from ablate.testing.networks import close

BATCH = 3

Build = Callable[[], nn.Module]
Call = Callable[..., Tensor]


def live(build: Build, seed: int = 0) -> nn.Module:
    """Return the module as it is somewhere in training, in eval(): every parameter is moved."""
    seed_all(SEED + seed)
    module = build().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return module


def expect_gradients(output: Tensor, named: Iterable[tuple[str, Tensor]]) -> None:
    """Raise AssertionError where a finite gradient does not reach one of the tensors from the output."""
    torch.autograd.backward((output * torch.randn(output.shape)).sum())
    for name, tensor in named:
        assert tensor.grad is not None and tensor.grad.count_nonzero(), f"no gradient reaches {name}"
        assert tensor.grad.isfinite().all(), f"the gradient of {name} is not finite"


def expect_state(build: Build, *inputs: object) -> None:
    """Raise AssertionError where two modules of one state dict give different outputs."""
    module, other = live(build), live(build, seed=5)
    other.load_state_dict(module.state_dict())
    with torch.no_grad():
        same = torch.equal(other(*inputs), module(*inputs))
    assert same, "a state that the state dict does not hold decides the output"


def expect_images_alone(call: Call, x: Tensor) -> None:
    """Raise AssertionError where an image's output depends on the rest of the batch, or is another the second time."""
    with torch.no_grad():
        y = call(x)
        assert torch.equal(call(x), y), "in eval(), the output is not repeatable"
        assert close(call(x[1:2]), y[1:2]), "an image's output depends on the rest of the batch"


def expect_tokens_alone(call: Call, x: Tensor) -> None:
    """Raise AssertionError where a token's output depends on another token, or on its place."""
    expect_images_alone(call, x)
    with torch.no_grad():
        assert close(call(x[:, 1:2]), call(x)[:, 1:2]), "a token's output depends on the others"
