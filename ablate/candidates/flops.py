"""FLOP counting: parameters, multiply-accumulates and Gflops of a network by the DiT/ADM convention.

`macs` is the raw matrix work of one forward pass on the meta device: linear layers, convolutions and
attention products, each multiply-accumulate counted once. `gflops` adds one per output element of each
normalisation layer, which is what the published figures of DiT contain (docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ablate.kinds.conditions import Labels, told_on_meta
from ablate.runtime.meta_device import operation_key
from ablate.spec.component import InputSpec

_aten = torch.ops.aten

# One per output element each. A normalisation that is written out by hand is not a layer, and not counted.
# RMS norm is listed whole: on the meta device it falls apart into elementwise operations.
NORMALISATIONS = {
    getattr(_aten, name)
    for name in (
        "rms_norm",
        "native_layer_norm",
        "native_group_norm",
        "native_batch_norm",
        "_fused_rms_norm",
        "cudnn_batch_norm",
    )
    if hasattr(_aten, name)
}


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass of a network, batch 1, without guidance or autoencoder."""

    params: int  # trainable numbers; fixed positional tables are left out
    gflops: float  # 1e9 multiply-accumulates, normalisation layers included
    macs: int  # multiply-accumulates of the raw matrix work
    activations: int  # elements that all operations put out: an upper bound of what training keeps
    # Gflops of a pass in training, where routing or the objective computes something else there; None: the same.
    train_pass_gflops: float | None = None

    @property
    def trained_gflops(self) -> float:
        """Gflops of a forward pass in training."""
        return self.gflops if self.train_pass_gflops is None else self.train_pass_gflops

    def __str__(self) -> str:
        return f"{self.params / 1e6:.1f} M parameters, {self.gflops:.4g} Gflops"


class Counter(TorchDispatchMode):
    """A FLOP counter: counts every operation as it is dispatched, with torch's own formulas for matrix work.

    For use in inference mode, where a composite operation arrives whole: it is taken apart, and its
    parts are counted, unless it is counted itself.
    Shapes on the meta device are computed in Python, which is slow; what an operation gives is
    remembered by its arguments' shapes, so that the second of equal blocks costs next to nothing.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.norm_elements = 0
        self.activations = 0
        self._outputs: dict[Any, tuple[Any, int, int, int]] = {}  # key -> (output, flops, norms, activations)

    @property
    def work(self) -> int:
        """Multiply-accumulates so far, and one for each output element of a normalisation layer."""
        return self.flops // 2 + self.norm_elements

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        key = operation_key(func, args, kwargs)
        if key in self._outputs:
            out, *counts = self._outputs[key]
        else:
            before = self.flops, self.norm_elements, self.activations
            out = NotImplemented if func._overloadpacket in NORMALISATIONS else self._parts(func, args, kwargs)
            if out is NotImplemented:
                out = func(*args, **kwargs)
                counts = self._count(func, args, kwargs, out)
            else:
                counts = [self.flops - before[0], self.norm_elements - before[1], self.activations - before[2]]
                self.flops, self.norm_elements, self.activations = before
            if key is not None:
                self._outputs[key] = (out, *counts)
        flops, norms, activations = counts
        self.flops += flops
        self.norm_elements += norms
        self.activations += activations
        return out

    def _parts(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Return the outcome of a composite operation, its parts counted; NotImplemented where it has none."""
        with self:
            return func.decompose(*args, **kwargs)

    def _count(self, func: Any, args: Any, kwargs: Any, out: Any) -> list[int]:
        packet = func._overloadpacket
        formula: Callable[..., int] | None = flop_registry.get(packet)
        flops = 0 if formula is None else formula(*args, **kwargs, out_val=out)
        norms = tree_leaves(out)[0].numel() if packet in NORMALISATIONS else 0
        outputs = [] if func.is_view else tree_leaves(out)
        return [flops, norms, sum(leaf.numel() for leaf in outputs if isinstance(leaf, Tensor))]


def example_inputs(setting: InputSpec) -> tuple[Tensor, Tensor, Labels]:
    """Return one image, its noise label and its conditions on the meta device, as a network is called with them."""
    x = torch.empty(1, *setting.shape, device="meta")
    return x, torch.empty(1, device="meta"), told_on_meta(setting, 1)


def measure(network: nn.Module, setting: InputSpec, is_routed: bool = False) -> Cost:
    """Count the cost of a network that was built on the meta device, for one image of the setting.

    is_routed: whether it may compute something else in training, which is then counted too.
    """
    training = network.training
    counter = _count(network.eval(), setting)
    in_training = _count(network.train(), setting).work if is_routed else counter.work
    network.train(training)
    macs = counter.flops // 2
    params = sum(p.numel() for p in network.parameters() if p.requires_grad)
    other = None if in_training == counter.work else in_training / 1e9
    return Cost(params, counter.work / 1e9, macs, counter.activations, other)


def _count(network: nn.Module, setting: InputSpec) -> Counter:
    counter, inputs = Counter(), example_inputs(setting)
    with torch.inference_mode(), counter:
        network(*inputs)
    return counter
