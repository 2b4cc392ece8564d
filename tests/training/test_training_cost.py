"""The cost of training: what is counted on the meta device is what a real step does in matrix products."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from segments_for_tests import CACHE, DATA, candidate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ablate.training.learner import Images, Learner
from ablate.training.training_cost import train_gflops

aten, CPU = torch.ops.aten, torch.device("cpu")
DIT = {"type": "dit", "patch": 2, "depth": 2, "width": 32, "heads": 2}
UNET = {"type": "unet", "width": 16, "multipliers": [1, 2], "blocks": 1, "attention_resolutions": [4]}
UVIT = {"type": "uvit", "patch": 2, "depth": 3, "width": 32, "heads": 2}


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> int:
    """Multiply-accumulates of softmax(QKᵀ)V."""
    return q.numel() * k.shape[-2] + q.shape[-2] * v.numel()


class Real(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts a step on the CPU, with what torch's own counter leaves out there: fused attention, and products added in
    place. Of the backward pass of attention the scores that are computed again are left out, as usual."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet is aten.addmm_:
            self.macs += len(args[1]) * args[2].numel()
        elif packet is aten._scaled_dot_product_flash_attention_for_cpu:
            self.macs += attention(*args[:3])
        elif packet is aten._scaled_dot_product_flash_attention_for_cpu_backward:
            self.macs += 2 * attention(*args[1:4])
        elif packet in flop_registry:
            self.macs += int(flop_registry[packet](*args, **(kwargs or {}), out_val=out)) / 2
        return out


@pytest.mark.parametrize("backbone", [DIT, UNET, UVIT], ids=["dit", "unet", "uvit"])
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"recompute": True},
        {"objective": "consistency"},
        {"objective": "self_conditioning", "schedule": "shifted"},
        {"auxiliary": ["dispersive"], "augmentation": "edm"},
        {"auxiliary": ["deep_supervision"]},
    ],
    ids=["plain", "recompute", "consistency", "self_conditioning", "dispersive", "deep_supervision"],
)
def test_a_counted_step_is_a_real_one(backbone: dict[str, Any], parts: dict[str, Any]) -> None:
    config = candidate(batch=8, more={"backbone": backbone, "optimizer": "sgd", "clip": "none", "ema": "none", **parts})
    learner = Learner(config, DATA.setting(), Images(DATA.load(CACHE), CPU), 0, CPU, None)
    noised, labels = learner.batch()
    with Real() as real:
        learner.learn(noised, labels)
    assert real.macs / 8 == pytest.approx(1e9 * train_gflops(config, DATA.setting()), rel=0.03)
