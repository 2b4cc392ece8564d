"""Checks of a residual connection: shapes, that both ways count, and that β is read only where it says so."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.kinds.residual import Residual
from ablate.testing import modules, networks
from ablate.testing.case import SEED, Case, Check

WIDTH, TOKENS = 16, 5


def keeps_the_shape(case: Case) -> None:
    """Scaled and added, (B, N, D) stays (B, N, D) and finite, also on the meta device."""
    for part in case.variants():
        x = torch.randn(modules.BATCH, TOKENS, WIDTH)
        with torch.device("meta"):
            counted = _apply(part, x.to("meta"), x.to("meta"))
        y = _apply(part, x, torch.randn(x.shape))
        assert y.shape == counted.shape == x.shape, f"{tuple(y.shape)} for {tuple(x.shape)}"
        assert y.isfinite().all(), "gives numbers that are not finite"


def lets_both_ways_through(case: Case) -> None:
    """What passes by and what the branch gives are both reached by a finite gradient."""
    x, h = (torch.randn(modules.BATCH, TOKENS, WIDTH, requires_grad=True) for _ in range(2))
    modules.expect_gradients(_apply(case.component, x, h), [("what passes by", x), ("the branch", h)])


def reads_beta_only_where_it_says_so(case: Case) -> None:
    """With `reads_beta` another β gives another sum; without, the same: then it is no part of the identity."""
    x, h = (torch.randn(modules.BATCH, TOKENS, WIDTH) for _ in range(2))
    sums = []
    for beta in (0.1, 0.7):
        torch.manual_seed(SEED)
        sums.append(_apply(case.component, x, h, beta))
    reads = not torch.equal(*sums)
    says = type(case.component).reads_beta  # type: ignore[attr-defined]
    assert reads == says, f"says reads_beta = {says}, and {'reads' if reads else 'does not read'} it"


def _apply(part: object, x: Tensor, h: Tensor, beta: float = 0.3) -> Tensor:
    assert isinstance(part, Residual)
    with torch.device(x.device):
        scale, total = part.scale(WIDTH, beta), part.total(WIDTH)
    h = scale(h) if isinstance(scale, nn.Module) else h * scale
    summed: Tensor = x + h if total is None else total(x, h)
    return summed


CHECKS: tuple[Check, ...] = (
    keeps_the_shape,
    lets_both_ways_through,
    reads_beta_only_where_it_says_so,
    networks.trains,
    networks.keeps_its_state,
    networks.runs_in_bf16,
)
