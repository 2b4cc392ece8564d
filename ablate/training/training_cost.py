"""The cost of training: what a step really computes for an image, counted on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from ablate.candidates.asked import Asked
from ablate.candidates.candidate import Candidate
from ablate.candidates.objectives import TRAIN_PASSES
from ablate.kinds.backbone import network_blocks
from ablate.kinds.conditions import told_on_meta
from ablate.kinds.guidance import TrainedGuidance
from ablate.runtime.isolation import isolated
from ablate.runtime.meta_device import OnMeta
from ablate.runtime.meta_forms import FormsMode
from ablate.runtime.recompute import outermost, recomputed
from ablate.spec.component import InputSpec
from ablate.training.terms import Terms, simulated_loss, teacher_like


@lru_cache(maxsize=4096)
def train_gflops(candidate: Candidate, setting: InputSpec) -> float:
    """Return the Gflops (1e9 multiply-accumulates) of training on one image.

    The matrix work of the forward and the backward pass, of what activation checkpointing computes again, of what the
    objective and its auxiliary terms add, and of the network that guidance trains beside (of a sibling by the share of
    the training in which it learns). It is near three forward passes, less where the input needs no gradient. The
    optimizer's step, noise and loss are elementwise, and not counted. Raises what a plugin's code raises on the meta
    device.
    """
    gflops = _alone(candidate, setting)
    sibling = candidate.sibling(setting)
    return gflops if sibling is None else gflops + sibling.until * _alone(candidate.of_sibling(sibling), setting)


def _alone(candidate: Candidate, setting: InputSpec) -> float:
    """Return the same without a sibling."""
    macs = _step_macs(Asked(candidate, of_passes=True), setting, candidate.micro)
    if isinstance(candidate.guidance, TrainedGuidance):
        with isolated(), OnMeta():
            companion = candidate.guidance.companion(candidate.inputs(setting)).train()
            macs += _macs(companion, [], torch.empty(1, *setting.shape), torch.empty(1))
    return macs / 1e9


@lru_cache(maxsize=4096)
def _step_macs(asked: Asked, setting: InputSpec, micro: int | None) -> int:
    """Count a step of the network once for candidates whose passes are the same; micro: see `_macs_of_terms`."""
    candidate = asked.candidate.for_setting(setting)
    with isolated(), OnMeta():
        setting = candidate.inputs(setting)
        network = candidate.backbone.build(setting).train()
        candidate.adapter.apply(network)
        blocks = outermost(network_blocks(network).values()) if candidate.recompute else []
        if candidate.one_pass and not candidate.adapter.freezes:
            return _macs(network, blocks, torch.empty(1, *setting.shape), torch.empty(1), told_on_meta(setting, 1))
        return _macs_of_terms(candidate, setting, network, blocks)


def pass_gflops(candidate: Candidate, setting: InputSpec) -> float:
    """Return a third of the Gflops that the objective and its auxiliary terms compute for an image.

    With one pass of the network that is near the Gflops of a forward pass. What activation checkpointing and a network
    beside it add is left out. Raises what a plugin's code raises on the meta device.
    """
    return _pass_gflops(Asked(candidate, of_passes=True), setting, candidate.micro)


@lru_cache(maxsize=4096)
def _pass_gflops(asked: Asked, setting: InputSpec, micro: int | None) -> float:
    """Count once for candidates whose passes are the same; micro: see `_macs_of_terms`."""
    candidate = asked.candidate.for_setting(setting)
    with isolated(), OnMeta():
        setting = candidate.inputs(setting)
        network = candidate.backbone.build(setting).train()
        candidate.adapter.apply(network)
        macs = _macs_of_terms(candidate, setting, network, [])
    return macs / 1e9 / TRAIN_PASSES


def _macs_of_terms(candidate: Candidate, setting: InputSpec, network: nn.Module, blocks: Sequence[nn.Module]) -> int:
    """Return the multiply-accumulates of the objective and its auxiliary terms, for one image."""
    terms = Terms(candidate, setting, lambda _, build: build())
    teacher = teacher_like(candidate, network, setting)
    # What an adapter does with the weights is done once for all images of a pass.
    count = (candidate.micro or candidate.batch) if candidate.adapter.freezes else 1

    def loss() -> Tensor:
        return simulated_loss(candidate, setting, network, terms, count, network, teacher=teacher)

    return _counted(blocks, loss) // count


def _macs(network: nn.Module, blocks: Sequence[nn.Module], *inputs: Any) -> int:
    """Return the multiply-accumulates of a forward and a backward pass. blocks: are computed again in the second."""
    return _counted(blocks, lambda: network(*inputs).float().square().mean())


def _counted(blocks: Sequence[nn.Module], loss: Callable[[], Tensor]) -> int:
    """Return the multiply-accumulates of computing a loss, and of its backward pass."""
    with MatrixWork() as counter, recomputed(blocks, nullcontext):
        loss().backward()  # type: ignore[no-untyped-call]
    return int(counter.flops) // 2


class MatrixWork(FormsMode):
    """Counts the floating-point operations of matrix products, by torch's own formulas, below autograd."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def saw(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Count an operation, where it is a matrix product."""
        formula = flop_registry.get(func._overloadpacket)
        self.flops += 0 if formula is None else int(formula(*args, **kwargs, out_val=out))
