"""Weights on the meta device are begun once for each shape, and a wrong beginning is an error each time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ablate.runtime.meta_device import OnMeta


@pytest.mark.parametrize("round_", range(2))
def test_layers_are_those_of_torchs_own_meta_device(round_: int) -> None:
    def made() -> list[tuple[object, ...]]:
        layers = [nn.Linear(3, 4), nn.Conv2d(2, 4, 3), nn.Embedding(5, 2), nn.Linear(3, 4)]
        nn.init.normal_(layers[0].weight, std=0.02)
        scratch = torch.empty(3).uniform_(-1, 1)
        return [(p.shape, p.device, p.dtype, p.requires_grad, p.is_leaf) for m in layers for p in m.parameters()] + [
            (scratch.shape, scratch.device)
        ]

    with torch.device("meta"):
        plain = made()
    with OnMeta():
        assert made() == plain
        assert torch.get_default_device().type == "meta"
        with torch.device("cpu"):
            real = nn.Linear(3, 4)
    assert real.weight.device.type == "cpu" and bool(real.weight.any())


@pytest.mark.parametrize("round_", range(2))
def test_a_draw_that_is_not_in_order_is_an_error_each_time(round_: int) -> None:
    with OnMeta():
        layer = nn.Linear(3, 4)
        with pytest.raises(ValueError, match="Fan in"):
            nn.init.kaiming_uniform_(torch.empty(3))
        with pytest.raises(RuntimeError, match="leaf"):
            layer.weight.normal_()
        with torch.no_grad():
            assert layer.weight.normal_() is layer.weight
        with pytest.raises(RuntimeError, match="normal"):
            torch.empty(3).normal_(std=-1.0)
        with pytest.warns(UserWarning, match="zero-element"):
            nn.init.kaiming_uniform_(torch.empty(0, 3))
