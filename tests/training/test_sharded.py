"""Weights in shards: a group of one process computes as if there were none, by the same code as a group of many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from learners import CPU, SETTING, candidate, images
from torch.distributed.tensor import DTensor

from ablate.errors import InputError
from ablate.training.group import Group
from ablate.training.learner import Learner
from ablate.training.memory_estimate import footprint

SHARDED = {"layout": "fsdp", "devices": 2}
PARTS: dict[str, dict[str, Any]] = {
    "adamw": {"clip": "global_norm", "ema": "power", "micro": 4, "recompute": True},
    "adam": {"optimizer": "adam", "clip": "value", "ema": "post_hoc"},
    "sgd": {"optimizer": "sgd", "clip": "agc", "ema": "none", "guidance": {"type": "classifier"}},
    "radam": {"optimizer": {"type": "radam", "layer_decay": 0.5}, "clip": "per_layer"},
}


@pytest.fixture
def group() -> Iterator[Group]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Group(0, 1)
    dist.destroy_process_group()


def learner(**parts: Any) -> Learner:
    made = Learner(candidate(**parts), SETTING, images(), 0, CPU, None)
    made.network.train()
    return made


@pytest.mark.parametrize("name", list(PARTS))
def test_shards_train_as_whole_weights_do(name: str, group: Group) -> None:
    """Losses, both norms, weights, moments, averages, snapshots; sharded after two steps, loaded again after four."""
    plain, sharded = learner(**PARTS[name]), learner(**SHARDED, **PARTS[name])
    for number in range(6):
        if number == 2:
            sharded.shard(group)
            assert all(isinstance(p, DTensor) for p in (*sharded.network.parameters(), *sharded.trainable.values()))
        if number == 4:
            sharded.load(sharded.state({}))
        one, two = plain.step(1000), sharded.step(1000)
        for mine, wanted in zip(two[2:5], one[2:5], strict=True):
            assert type(mine) is torch.Tensor and torch.allclose(mine, wanted, rtol=1e-5)
    ours, theirs = plain.state({}), sharded.state({})
    assert ours.facts == theirs.facts and ours.tensors.keys() == theirs.tensors.keys()
    for key, value in {**ours.tensors, **plain.snapshot()}.items():
        torch.testing.assert_close({**theirs.tensors, **sharded.snapshot()}[key], value, rtol=1e-4, atol=1e-6)


def test_a_number_alone_cannot_be_cut(group: Group) -> None:
    unet = {"type": "unet", "width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "output_gain": True}
    with pytest.raises(InputError, match=r"fsdp does not go with backbone 'unet': its parameter 'gain\.factor' is a"):
        learner(backbone=unet, **SHARDED).shard(group)


def test_shards_take_less_memory() -> None:
    """Of weights, gradients, moments and averages a device has its part, and of activations what its images take."""
    large = {"backbone": {"type": "dit", "patch": 4, "depth": 8, "width": 64, "heads": 2}, "batch": 8}
    whole, half, quarter = (
        footprint(candidate(**large, **more), SETTING, "cpu", 2)
        for more in ({"devices": 4}, SHARDED, {"layout": "fsdp", "devices": 4})
    )
    assert quarter.optimizer == pytest.approx(whole.optimizer / 4, rel=1e-3)
    assert quarter.averages == pytest.approx(whole.averages / 4, rel=1e-3)
    assert quarter.activations == whole.activations and quarter.total < half.total < whole.total
