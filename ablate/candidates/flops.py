"""FLOP counting: parameters, multiply-accumulates and Gflops of a network by the DiT/ADM convention.

`macs` is the raw matrix work of one forward pass on the meta device: linear layers, convolutions and
attention products, each multiply-accumulate counted once. `gflops` adds one per output element of each
normalisation layer, which is what the published figures of DiT contain (docs/decisions/0003). `gflops_edm2` follows
the rule by which EDM2's figures were counted (docs/decisions/0050).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ablate.kinds.conditions import Labels, told_on_meta
from ablate.runtime.meta_device import MetaMode, operation_key
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

# By EDM2's rule (docs/decisions/0050): so many operations for each number that comes out; one for other elementwise
# operations. Of a reduction, one for each number that goes in.
ACTIVATION, SOFTMAX, NORMALISATION = 3, 3, 4
ACTIVATIONS = {
    getattr(_aten, name)
    for name in ("silu", "gelu", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "hardswish", "mish", "softplus")
}
SOFTMAXES = {getattr(_aten, name) for name in ("softmax", "_softmax", "_safe_softmax") if hasattr(_aten, name)}
OTHERS = {_aten.cat, _aten.avg_pool2d, _aten.upsample_nearest2d, _aten.upsample_bilinear2d, _aten._unsafe_index}
# What operations gave and counted, by their arguments' shapes: (output, flops, norms, activations, elementwise).
OUTCOMES: dict[Any, tuple[Any, int, int, int, int]] = {}
WHOLE: set[Any] = set()  # operations that were met and have no parts
FREE: set[Any] = set()  # of these the views, of which nothing is ever counted
MOST_OUTCOMES = 20_000
REDUCTIONS = {_aten.linalg_vector_norm, _aten.mean, _aten.sum, _aten.var, _aten.var_mean}


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass of a network, batch 1, without guidance or autoencoder."""

    params: int  # trainable numbers; fixed positional tables are left out
    gflops: float  # 1e9 multiply-accumulates, normalisation layers included
    macs: int  # multiply-accumulates of the raw matrix work
    activations: int  # elements that all operations put out: an upper bound of what training keeps
    # Gflops of a pass in training, where routing or the objective computes something else there; None: the same.
    train_pass_gflops: float | None = None
    gflops_edm2: float = math.nan  # by EDM2's rule: `macs`, and elementwise work in the place of the norms' share
    trainable: int | None = None  # numbers that are trained, where an adapter leaves `params` as they are; None: all

    @property
    def trained_gflops(self) -> float:
        """Gflops of a forward pass in training."""
        return self.gflops if self.train_pass_gflops is None else self.train_pass_gflops

    def __str__(self) -> str:
        trained = "" if self.trainable is None else f" ({self.trainable / 1e6:.3g} M trained)"
        return f"{self.params / 1e6:.1f} M parameters{trained}, {self.gflops:.4g} Gflops"


class Counter(MetaMode):
    """A FLOP counter: counts every operation as it is dispatched, with torch's own formulas for matrix work.

    For use in inference mode, where a composite operation arrives whole: it is taken apart, and its
    parts are counted, unless it is counted itself.
    Shapes on the meta device are computed in Python, which is slow; what an operation gives is
    remembered by its arguments' shapes, for all networks, so that the second of equal blocks costs next to nothing.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.norm_elements = 0
        self.activations = 0
        self.elementwise = 0  # operations that are no matrix work, by EDM2's rule

    @property
    def work(self) -> int:
        """Multiply-accumulates so far, and one for each output element of a normalisation layer."""
        return self.flops // 2 + self.norm_elements

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in FREE:
            return func(*args, **kwargs)
        key = operation_key(func, args, kwargs)
        if key is not None and torch.is_inference_mode_enabled():
            key = (*key, "inference")  # such a tensor is none for other passes
        if key in OUTCOMES:
            out, *counts = OUTCOMES[key]
        else:
            before = self._totals()
            out = NotImplemented if func._overloadpacket in NORMALISATIONS else self._parts(func, args, kwargs)
            if out is NotImplemented:
                out = func(*args, **kwargs)
                counts = self._count(func, args, kwargs, out)
            else:
                counts = [now - then for now, then in zip(self._totals(), before, strict=True)]
                self.flops, self.norm_elements, self.activations, self.elementwise = before
            if key is not None:
                if len(OUTCOMES) >= MOST_OUTCOMES:
                    OUTCOMES.clear()
                OUTCOMES[key] = (out, *counts)
        flops, norms, activations, elementwise = counts
        self.elementwise += elementwise
        self.flops += flops
        self.norm_elements += norms
        self.activations += activations
        return out

    def _totals(self) -> tuple[int, int, int, int]:
        return self.flops, self.norm_elements, self.activations, self.elementwise

    def _parts(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Return the outcome of a composite operation, its parts counted; NotImplemented where it has none."""
        if func in WHOLE:
            return NotImplemented
        with self:
            out = func.decompose(*args, **kwargs)
        if out is NotImplemented:
            WHOLE.add(func)
            if func.is_view and not counted(func):
                FREE.add(func)
        return out

    def _count(self, func: Any, args: Any, kwargs: Any, out: Any) -> list[int]:
        packet = func._overloadpacket
        formula: Callable[..., int] | None = flop_registry.get(packet)
        flops = 0 if formula is None else formula(*args, **kwargs, out_val=out)
        norms = tree_leaves(out)[0].numel() if packet in NORMALISATIONS else 0
        outputs = [] if func.is_view else tree_leaves(out)
        activations = sum(leaf.numel() for leaf in outputs if isinstance(leaf, Tensor))
        return [flops, norms, activations, elementwise_operations(func, args, out)]


def counted(func: Any) -> bool:
    """Return whether something may be counted of an operation of torch's, beside its outputs."""
    packets = (flop_registry, NORMALISATIONS, SOFTMAXES, ACTIVATIONS, REDUCTIONS, OTHERS)
    return torch.Tag.pointwise in func.tags or any(func._overloadpacket in one for one in packets)


def elementwise_operations(func: Any, args: Any, out: Any) -> int:
    """Return how many operations beside matrix work an operation of torch's is, by EDM2's rule."""
    packet = func._overloadpacket
    if packet in REDUCTIONS:
        return int(args[0].numel())
    first = next((leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)), None)
    if first is None:
        return 0
    for packets, each in ((NORMALISATIONS, NORMALISATION), (SOFTMAXES, SOFTMAX), (ACTIVATIONS, ACTIVATION)):
        if packet in packets:
            return each * first.numel()
    has_bias = packet is _aten.addmm or (packet is _aten.convolution and args[2] is not None)
    counts = has_bias or packet in OTHERS or torch.Tag.pointwise in func.tags
    return first.numel() if counts else 0


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
    if network.training != training:
        network.train(training)
    macs = counter.flops // 2
    params = sum(p.numel() for p in network.parameters() if p.requires_grad)
    other = None if in_training == counter.work else in_training / 1e9
    edm2 = (macs + counter.elementwise) / 1e9
    return Cost(params, counter.work / 1e9, macs, counter.activations, other, edm2)


def _count(network: nn.Module, setting: InputSpec) -> Counter:
    counter, inputs = Counter(), example_inputs(setting)
    with torch.inference_mode(), counter:
        network(*inputs)
    return counter
