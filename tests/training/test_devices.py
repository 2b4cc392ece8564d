"""What a device has and has not: Apple's without fp64, convolutions in another order of memory, how busy a GPU is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from learners import CPU, SETTING, candidate, learner, same, train
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ablate.errors import InputError
from ablate.kinds.noised import Noised
from ablate.runtime.machine import choose_device
from ablate.runtime.randomness import RandomStreams
from ablate.study.device import refuse_mps
from ablate.training.busy import BusyGauge, busy_share
from ablate.training.checkpoint import newest, save
from ablate.training.learner import Learner

UNET = {"type": "unet", "width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "attention_resolutions": (4,)}


class NoDouble(TorchDispatchMode):
    """A device without fp64: the meta device, which has no numbers either."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            assert not (isinstance(leaf, torch.Tensor) and leaf.is_meta and leaf.dtype == torch.float64), func
        return output


@pytest.mark.parametrize(
    "parts", [{}, {"backbone": UNET, "weighting": "min_snr", "precondition": "edm", "target": "x0"}]
)
def test_a_step_takes_its_levels_from_the_processor_where_the_device_has_no_fp64(parts: dict[str, Any]) -> None:
    there = RandomStreams(0, torch.device("mps")).uniform("levels", 3, 5, torch.float64)
    assert there.device == CPU and torch.equal(there, RandomStreams(0, CPU).uniform("levels", 3, 5, torch.float64))
    made = learner(**parts)
    assert refuse_mps(made.candidate) is None
    noised, labels = made.batch()
    made.network.to("meta")
    meta = [value.to("meta") for value in (noised.x0, noised.noise)]
    level = made.process.level(noised.level.t)
    with NoDouble():
        moved: Noised = made.process.diffuse(*meta, level)
        loss = made.loss(moved, labels.to("meta"))
        loss.sum().backward()
    assert loss.is_meta and loss.dtype == torch.float32 and moved.level.t.device == CPU


def test_what_is_not_to_be_had_on_mps_is_told() -> None:
    told = refuse_mps(
        candidate(objective="mean_flow", backbone={**candidate().spec()["backbone"], "second_label": True})
    )
    assert told == (
        "objective 'mean_flow' computes in fp64, which mps does not have; say --device cpu, or leave it out"
    )
    if not torch.backends.mps.is_available():
        with pytest.raises(InputError, match="no mps device \\(Apple's GPU\\) is to be seen here"):
            choose_device("mps")
    with pytest.raises(InputError, match="did you mean 'mps'"):
        choose_device("mp")


def test_another_order_in_memory_is_the_same_training(tmp_path: Path) -> None:
    """Up to rounding; a checkpoint goes on with either, and with its own to the same bits."""
    one, two = (learner(backbone=UNET, layout=layout) for layout in ("contiguous", "channels_last"))
    assert one.candidate.digest() == two.candidate.digest()
    kernels = [p for p in two.network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert kernels and all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    ours, theirs = (train(made, 3).network.state_dict() for made in (one, two))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5)
    save(tmp_path, two.state({"trial": tmp_path.parent.name}))
    checkpoint = newest(tmp_path, "cpu")
    assert checkpoint is not None
    again: Learner = learner(backbone=UNET, layout="channels_last")
    again.load(checkpoint)
    for parameter, state in again.optimizer.state.items():
        assert state["exp_avg"].stride() == parameter.stride()
    assert same(train(two, 2).state({}).tensors, train(again, 2).state({}).tensors)
    other, checkpoint = learner(backbone=UNET), newest(tmp_path, "cpu")  # an optimizer goes on in what it has loaded
    assert checkpoint is not None
    other.load(checkpoint)
    for name, value in train(other, 2).network.state_dict().items():
        torch.testing.assert_close(value, two.network.state_dict()[name], rtol=1e-3, atol=1e-5)


def test_how_busy_a_device_is() -> None:
    assert busy_share([(0, 2), (1, 3), (5, 6), (9, 10)]) == pytest.approx(0.5)
    assert busy_share([]) is None
    gauge = BusyGauge(CPU)
    for _ in range(40):
        gauge.before_step()
    assert gauge.share is None and SETTING.shape[0] == 1
