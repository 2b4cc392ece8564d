"""Checks of a precision: a step of training in it is close to one in fp32."""

from __future__ import annotations

import torch
from torch import nn

from ablate.kinds.precision import Precision
from ablate.runtime.randomness import seed_all
from ablate.testing.case import SEED, Case, Check

DEVICE = torch.device("cpu")
OFF = 0.05  # relative distance from fp32
TRIES = 32  # steps in which a loss scale has to be found
SMALL = 1e-6  # of a loss: its gradients vanish in half precision where the loss is not scaled


def is_close_to_fp32(case: Case) -> None:
    """The output is finite and within 5 % of fp32."""
    for part in _variants(case):
        network, x = _network(), _x()
        exact = network(x)
        with part.forward(DEVICE):
            rough = network(x)
        distance = float((rough.float() - exact).detach().norm() / exact.detach().norm())
        assert rough.isfinite().all() and distance <= OFF, f"{part!r}: {distance:.1%} off"


def takes_a_step(case: Case) -> None:
    """Through its scaler, weights and gradients stay fp32, small gradients survive, and weights move.

    A scaler may skip steps whose gradients are not finite, and then leaves the weights as they are; within
    32 steps it has found a scale at which none is lost.
    """
    for part in _variants(case):
        network = _network()
        optimizer, scaler = torch.optim.SGD(network.parameters(), lr=0.1 / SMALL), part.scaler(DEVICE)
        for _ in range(TRIES):
            before = [p.detach().clone() for p in network.parameters()]
            optimizer.zero_grad()
            with part.forward(DEVICE):
                output = network(_x())
            scaler.scale(output.float().square().mean() * SMALL).backward()
            scaler.unscale_(optimizer)
            gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
            skips = not all(bool(g.isfinite().all()) for g in gradients.values())
            scaler.step(optimizer)
            scaler.update()
            if not skips:
                break
            assert scaler.is_enabled(), f"{part!r}: gradients are not finite"
            assert all(map(torch.equal, network.parameters(), before)), f"{part!r}: a step that is skipped moves"
        assert not skips, f"{part!r}: gradients are still not finite after {TRIES} steps"
        for name, p in network.named_parameters():
            assert p.dtype == torch.float32 and name in gradients, f"{part!r}: {name} is not fp32, or has no gradient"
            assert gradients[name].dtype == torch.float32 and gradients[name].any(), (
                f"{part!r}: the gradient of {name} is lost"
            )
        assert all(not torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True)), "nothing moves"


def keeps_reductions_in_fp32(case: Case) -> None:
    """Norms, softmax, exponentials, powers and sums inside of the network give fp32, whatever comes in."""
    for part in _variants(case):
        x = _x()
        with part.forward(DEVICE):
            h = torch.nn.functional.linear(x, torch.eye(12))
            outputs = {
                "layer norm": torch.nn.functional.layer_norm(h, (12,)),
                "group norm": torch.nn.functional.group_norm(h, 3),
                "softmax": h.softmax(-1),
                "exp": h.exp(),
                "square": h**2,
                "sum": h.sum(),
                "mean": h.mean(-1),
                "norm": torch.linalg.vector_norm(h),
            }
        rough = [f"{name} gives {y.dtype}" for name, y in outputs.items() if y.dtype != torch.float32]
        assert not rough, f"{part!r}: {', '.join(rough)}"


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
    seed_all(SEED)
    return nn.Sequential(nn.Linear(12, 16), nn.LayerNorm(16), nn.SiLU(), nn.Linear(16, 12))


def _x() -> torch.Tensor:
    return torch.randn(32, 12, generator=torch.Generator().manual_seed(1))


CHECKS: tuple[Check, ...] = (is_close_to_fp32, takes_a_step, keeps_reductions_in_fp32, leaves_nothing_behind)
