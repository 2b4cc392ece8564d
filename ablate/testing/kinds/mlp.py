"""Checks of an MLP: each token by itself, as wide inside as it is told."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from ablate.kinds.mlp import Mlp
from ablate.testing import modules, networks
from ablate.testing.case import Case, Check

WIDTH, HIDDEN, TOKENS = 16, 40, 5


def transforms_each_token_by_itself(case: Case) -> None:
    """(B, N, D) -> the same, finite, also on meta; a token's output depends on that token alone."""
    for part in case.variants():
        x = torch.randn(modules.BATCH, TOKENS, WIDTH)
        with torch.device("meta"):
            counted = _build(part)(x.to("meta"))
        module = modules.live(partial(_build, part))
        y = module(x)
        assert y.shape == counted.shape == x.shape, f"{tuple(y.shape)} for {tuple(x.shape)}"
        assert y.isfinite().all(), "gives numbers that are not finite"
        modules.expect_tokens_alone(module, x)


def is_as_wide_as_it_is_told(case: Case) -> None:
    """With a larger hidden width it has more parameters."""
    few, many = (_count(_build(case.component, hidden)) for hidden in (HIDDEN, 3 * HIDDEN))
    assert few < many, f"{few} parameters with {HIDDEN} hidden, {many} with {3 * HIDDEN}"


def is_reached_by_gradients(case: Case) -> None:
    """Every parameter is reached by a finite gradient, and so are the tokens."""
    x = torch.randn(modules.BATCH, TOKENS, WIDTH, requires_grad=True)
    module = modules.live(lambda: _build(case.component))
    modules.expect_gradients(module(x), [("the tokens", x), *module.named_parameters()])


def keeps_the_state_of_its_module(case: Case) -> None:
    """A state dict gives an equal module."""
    modules.expect_state(lambda: _build(case.component), torch.randn(modules.BATCH, TOKENS, WIDTH))


def _build(part: object, hidden: int = HIDDEN) -> nn.Module:
    assert isinstance(part, Mlp)
    return part.build(WIDTH, hidden)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


CHECKS: tuple[Check, ...] = (
    transforms_each_token_by_itself,
    is_as_wide_as_it_is_told,
    is_reached_by_gradients,
    keeps_the_state_of_its_module,
    networks.trains,
    networks.runs_in_bf16,
)
