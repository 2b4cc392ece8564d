"""A network that was counted is taken once more only where counting left it as it was built."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ablate.api import InputSpec
from ablate.candidates import spare
from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog

SETTING = InputSpec((1, 8, 8), 10)


class Network(nn.Module):
    """Does something to itself in a pass."""

    def __init__(self, act: Callable[[Network], object]) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.seen: list[int] = []
        self.tables: dict[str, dict[int, Tensor]] = {"of": {}}
        self.sizes = {1}
        self.passes = 0
        calls: list[int] = []
        self.count = lambda: calls.append(1)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        self.act(self)
        y: Tensor = self.layer(x)
        return y


def passed(act: Callable[[Network], object]) -> bool:
    network = Network(act)
    state = spare.State(network)
    assert state.known and state.same()
    network(torch.zeros(1, 2))
    return state.same()


@pytest.mark.parametrize(
    "act",
    [
        lambda network: network.seen.append(1),
        lambda network: network.tables["of"].update({4: torch.zeros(2)}),
        lambda network: network.sizes.add(2),
        lambda network: setattr(network, "passes", network.passes + 1),
        lambda network: setattr(network, "late", 1),
        lambda network: network.register_buffer("table", torch.zeros(2)),
        lambda network: network.add_module("more", nn.ReLU()),
        lambda network: setattr(network.layer, "bias", None),
        lambda network: network.layer.eval(),
        lambda network: network.layer.register_forward_hook(lambda *_: None),
        lambda network: network.count(),
    ],
)
def test_what_a_pass_leaves_in_a_network_is_seen(act: Callable[[Network], object]) -> None:
    assert passed(lambda network: None)
    assert not passed(act)


def test_what_cannot_be_looked_at_is_not_taken_for_the_same() -> None:
    network = Network(lambda network: None)
    setattr(network, "generator", torch.Generator())  # noqa: B010
    assert not spare.State(network).same()


def test_a_spare_is_taken_once_and_only_for_its_own_backbone() -> None:
    made = [
        compose({"backbone": {"type": "dit", "depth": depth, "width": 32, "heads": 4}}, catalog()).backbone
        for depth in (1, 2)
    ]
    network = nn.Linear(2, 2)
    spare.keep(made[0], SETTING, network)
    assert spare.take(made[1], SETTING) is None and spare.take(made[0], SETTING) is None
    spare.keep(made[0], SETTING, network)
    assert spare.take(made[0], SETTING) is network and spare.take(made[0], SETTING) is None
