"""Checks of a norm: each token by itself, bounded, with a scale of its own where it is asked for one."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ablate.kinds.norm import Norm
from ablate.testing import modules, networks
from ablate.testing.case import Case, Check, NotApplicable

WIDTH, TOKENS = 16, 5
LARGE = 1000.0  # times as large
BOUND = 10.0  # times as large as what it gives for tokens of unit variance


def normalises_each_token_by_itself(case: Case) -> None:
    """(..., D) -> the same, also on meta, with and without a scale; a token's output depends on that token alone."""
    for part in case.variants():
        for affine in (False, True):
            x = torch.randn(modules.BATCH, TOKENS, WIDTH)
            with torch.device("meta"):
                counted = _call(part, _build(part, affine), x.to("meta"))
            module = partial(_call, part, modules.live(partial(_build, part, affine)))
            y = module(x)
            assert y.shape == counted.shape == x.shape, f"{tuple(y.shape)} for {tuple(x.shape)}"
            modules.expect_tokens_alone(module, x)


def stays_bounded(case: Case) -> None:
    """Of tokens that are 1000 times as large it gives none that are; of zeros it gives finite numbers and gradients.

    Not asked of one that says "unnormalised".
    """
    if "unnormalised" in case.component.provides():
        raise NotApplicable("says that it normalises nothing")
    live = modules.live(lambda: _build(case.component, True))

    def module(x: Tensor) -> Tensor:
        return _call(case.component, live, x)

    x = torch.randn(modules.BATCH, TOKENS, WIDTH)
    with torch.no_grad():
        unit, large = (float(module(s * x).square().mean().sqrt()) for s in (1.0, LARGE))
    assert large <= BOUND * max(unit, 1.0), f"{large:.3g} in the mean for tokens of {LARGE:g}, {unit:.3g} for 1"
    zeros = torch.zeros_like(x).requires_grad_()
    y = module(zeros)
    torch.autograd.backward(y.sum())
    assert y.isfinite().all() and zeros.grad is not None and zeros.grad.isfinite().all(), "is not finite at zero"


def has_a_scale_where_it_is_asked_for(case: Case) -> None:
    """With `affine` it has more parameters than without."""
    plain, scaled = (sum(p.numel() for p in _build(case.component, a).parameters()) for a in (False, True))
    assert plain < scaled, f"{scaled} parameters with a scale of its own, {plain} without"


def is_reached_by_gradients(case: Case) -> None:
    """Every parameter is reached by a finite gradient, and so are the tokens."""
    x = torch.randn(modules.BATCH, TOKENS, WIDTH, requires_grad=True)
    module = modules.live(lambda: _build(case.component, True))
    modules.expect_gradients(_call(case.component, module, x), [("the tokens", x), *module.named_parameters()])


def keeps_the_state_of_its_module(case: Case) -> None:
    """A state dict gives an equal module."""
    x = torch.randn(modules.BATCH, TOKENS, WIDTH)
    modules.expect_state(lambda: _build(case.component, True), x, *_told(case.component, x))


def reads_the_noise_where_it_says_so(case: Case) -> None:
    """With `reads_noise`, each image is normed by its own noise level, whichever others are in the batch."""
    if not _told(case.component, torch.empty(1)):
        raise NotApplicable("does not read the noise")
    module = modules.live(lambda: _build(case.component, True))
    x, noise = torch.randn(modules.BATCH, TOKENS, WIDTH), torch.tensor([0.1, 3.0, 700.0])
    with torch.no_grad():
        y = module(x, noise)
        for i in range(modules.BATCH):
            assert torch.allclose(module(x[i : i + 1], noise[i : i + 1]), y[i : i + 1], atol=1e-5), "depends on others"
        assert not torch.allclose(module(x, noise.flip(0)), y), "the noise level makes no difference"


def _told(part: object, x: Tensor) -> tuple[Tensor, ...]:
    """Return what its module is told beside x: the noise labels, where it reads them."""
    assert isinstance(part, Norm)
    return (torch.full((len(x),), 0.7, device=x.device),) if part.reads_noise else ()


def _call(part: object, module: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = module(x, *_told(part, x))
    return y


def _build(part: object, affine: bool) -> nn.Module:
    assert isinstance(part, Norm)
    return part.build(WIDTH, affine)


CHECKS: tuple[Check, ...] = (
    normalises_each_token_by_itself,
    stays_bounded,
    has_a_scale_where_it_is_asked_for,
    is_reached_by_gradients,
    keeps_the_state_of_its_module,
    reads_the_noise_where_it_says_so,
    networks.trains,
    networks.runs_in_bf16,
)
