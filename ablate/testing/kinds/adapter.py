"""Checks of an adapter: it changes nothing at first, trains what it says, and its state is that of the network."""

from __future__ import annotations

import torch
from torch import nn

from ablate.kinds.adapter import Adapter
from ablate.testing import modules
from ablate.testing.case import Case, Check

WIDTH = 8


def changes_nothing_before_training(case: Case) -> None:
    """A network with trained weights gives what it gave, with each of the adapter's switches turned."""
    for part in case.variants():
        network, x = _network(), torch.randn(modules.BATCH, WIDTH)
        before = network(x)
        after = _adapted(part, network)(x)
        assert torch.allclose(before, after, rtol=1e-5, atol=1e-6), "the network gives something else before training"


def trains_what_it_says(case: Case) -> None:
    """With `freezes`, less is trained than there is, and requires "trained_start"; what is trained has a gradient."""
    for part in case.variants():
        network = _adapted(part, _network())
        trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
        freezes = type(part).freezes  # type: ignore[attr-defined]
        assert bool(frozen) == freezes, f"says freezes = {freezes}, and {'freezes' if frozen else 'trains all'}"
        assert freezes == ("trained_start" in part.requires()), "frozen weights have to be trained ones: require it"
        with torch.no_grad():
            for _, parameter in trained:  # what begins at zero keeps others from a gradient, until a step
                parameter.add_(0.1 * torch.randn_like(parameter))
        modules.expect_gradients(network(torch.randn(modules.BATCH, WIDTH)), trained)


def keeps_its_state(case: Case) -> None:
    """A state dict of an adapted network gives an equal one."""
    modules.expect_state(lambda: _adapted(case.component, _network()), torch.randn(modules.BATCH, WIDTH))


def works_without_numbers(case: Case) -> None:
    """On the meta device it trains as many numbers as elsewhere."""
    with torch.device("meta"):
        counted = _adapted(case.component, _network())
    assert _trained(counted) == _trained(_adapted(case.component, _network())), "trains other numbers on meta"


def _network() -> nn.Module:
    inner = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH, bias=False))
    return nn.Sequential(inner, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH))


def _adapted(part: object, network: nn.Module) -> nn.Module:
    assert isinstance(part, Adapter)
    part.apply(network)
    return network


def _trained(network: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(p.shape)) for name, p in network.named_parameters() if p.requires_grad]


CHECKS: tuple[Check, ...] = (
    changes_nothing_before_training,
    trains_what_it_says,
    keeps_its_state,
    works_without_numbers,
)
