"""Checks of a precision: a step of training in it is close to one in fp32."""

from __future__ import annotations

import torch
from torch import nn

from ablate.kinds.precision import Precision
from ablate.testing.case import Case, Check

DEVICE = torch.device("cpu")
OFF = 0.05  # relative distance from fp32


def is_close_to_fp32(case: Case) -> None:
    """The output is finite and within 5 % of fp32."""
    for part in _variants(case):
        network, x = _network(), _x()
        exact = network(x)
        with part.forward(DEVICE):
            rough = network(x)
        off = float((rough.float() - exact).detach().norm() / exact.detach().norm())
        assert rough.isfinite().all() and off <= OFF, f"{part!r}: {off:.1%} off"


def takes_a_step(case: Case) -> None:
    """Through its scaler, weights and gradients stay fp32 and finite, small gradients survive, and weights move."""
    for part in _variants(case):
        network = _network()
        optimizer, scaler = torch.optim.SGD(network.parameters(), lr=0.1), part.scaler(DEVICE)
        before = [p.detach().clone() for p in network.parameters()]
        with part.forward(DEVICE):
            output = network(_x())
        scaler.scale(output.float().square().mean()).backward()
        scaler.unscale_(optimizer)
        for name, p in network.named_parameters():
            assert p.grad is not None and p.grad.dtype == p.dtype == torch.float32, f"{part!r}: {name} is not fp32"
            assert p.grad.isfinite().all() and p.grad.any(), f"{part!r}: the gradient of {name} is lost"
        scaler.step(optimizer)
        scaler.update()
        assert all(not torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True)), "nothing moves"


def leaves_nothing_behind(case: Case) -> None:
    """After the context, the network runs in fp32 again."""
    for part in _variants(case):
        network, x = _network(), _x()
        exact = network(x)
        with part.forward(DEVICE):
            network(x)
        after = network(x)
        assert after.dtype == torch.float32 and torch.equal(after, exact), f"{part!r}: fp32 is not what it was"


def _variants(case: Case) -> list[Precision]:
    return [part for part in case.variants(numbers=True) if isinstance(part, Precision)]


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.LayerNorm(16), nn.SiLU(), nn.Linear(16, 12))


def _x() -> torch.Tensor:
    return torch.randn(32, 12, generator=torch.Generator().manual_seed(1))


CHECKS: tuple[Check, ...] = (is_close_to_fp32, takes_a_step, leaves_nothing_behind)
