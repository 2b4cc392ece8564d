"""Checks of a fusion: its module for itself, and a network with long skips where there is one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.kinds.conditioning import Context
from ablate.kinds.fusion import Fusion
from ablate.runtime.randomness import seed_all
from ablate.testing import networks
from ablate.testing.case import SEED, Case, Check

BATCH, EMBEDDING, WORDS, SIDE = 3, 24, 2, 8
WIDTHS = [(16, 16), (16, 32), (32, 16)]  # channels of the decoder and of the skip


def gives_the_shape_of_the_decoder(case: Case) -> None:
    """(d, s) -> y like d, with as many channels as it says; whether the skip is as wide, wider or narrower.

    With each of its switches turned, and also on the meta device.
    """
    for part in case.variants():
        assert isinstance(part, Fusion)
        for channels, skip in WIDTHS:
            promised = part.channels(channels, skip)
            for device in ("cpu", "meta"):
                with torch.device(device):
                    y = part.build(channels, skip, EMBEDDING)(*_features(channels, skip))
                assert y.shape == (BATCH, promised, SIDE, SIDE), (
                    f"{tuple(y.shape)} for {channels} and {skip} channels, where it says {promised}"
                )
                assert y.is_meta or y.isfinite().all(), "gives numbers that are not finite"


def uses_both(case: Case) -> None:
    """Decoder and skip both count, and every parameter is reached by a finite gradient."""
    module = _live(case)
    d, s, context = _features(*WIDTHS[1])
    d.requires_grad_()
    s.requires_grad_()
    y = module(d, s, context)
    (y * torch.randn(y.shape)).sum().backward()
    inputs = (("the decoder feature", d), ("the skip feature", s))
    for name, tensor in (*inputs, *module.named_parameters()):
        assert tensor.grad is not None and tensor.grad.count_nonzero(), f"no gradient reaches {name}"
        assert tensor.grad.isfinite().all(), f"the gradient of {name} is not finite"


def fuses_each_image_alone(case: Case) -> None:
    """What comes out for an image depends on that image alone, and is the same twice."""
    module, inputs = _live(case), _features(*WIDTHS[1])
    with torch.no_grad():
        y = module(*inputs)
        assert torch.equal(module(*inputs), y), "in eval(), the output is not repeatable"
        assert networks.close(module(*_one(*inputs)), y[1:2]), "depends on the rest of the batch"


def keeps_the_state_of_its_module(case: Case) -> None:
    """A state dict gives an equal module."""
    module, other, inputs = _live(case), _live(case, seed=5), _features(*WIDTHS[1])
    other.load_state_dict(module.state_dict())
    with torch.no_grad():
        assert torch.equal(other(*inputs), module(*inputs)), (
            "a state that the state dict does not hold decides the output"
        )


def _build(case: Case, channels: int, skip: int) -> nn.Module:
    part = case.component
    assert isinstance(part, Fusion)
    return part.build(channels, skip, EMBEDDING)


def _live(case: Case, seed: int = 0) -> nn.Module:
    """Return the module as it is somewhere in training, in eval()."""
    seed_all(SEED + seed)
    module = _build(case, *WIDTHS[1]).eval()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return module


def _features(channels: int, skip: int) -> tuple[Tensor, Tensor, Context]:
    d, s = torch.randn(BATCH, channels, SIDE, SIDE), torch.randn(BATCH, skip, SIDE, SIDE)
    embedding, tokens = torch.randn(BATCH, EMBEDDING), torch.randn(BATCH, WORDS, EMBEDDING)
    return d, s, Context(embedding, tokens, torch.rand(BATCH) * 999)


def _one(d: Tensor, s: Tensor, context: Context) -> tuple[Tensor, Tensor, Context]:
    """Return the second image alone."""
    embedding, tokens, noise = context[:3]
    return d[1:2], s[1:2], Context(embedding[1:2], tokens[1:2], noise[1:2])


CHECKS: tuple[Check, ...] = (
    gives_the_shape_of_the_decoder,
    uses_both,
    fuses_each_image_alone,
    keeps_the_state_of_its_module,
    *networks.CHECKS,
)
