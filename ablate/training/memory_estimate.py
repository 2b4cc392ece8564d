"""Estimate of the memory that training takes, from a step simulated on the meta device: nothing is allocated."""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from ablate.candidates import elsewhere, spare
from ablate.candidates.asked import Asked
from ablate.candidates.candidate import Candidate
from ablate.kinds.backbone import network_blocks
from ablate.kinds.conditions import Labels, told_on_meta
from ablate.kinds.ema import Ema
from ablate.kinds.guidance import TrainedGuidance
from ablate.kinds.optimizer import Optimizer
from ablate.kinds.parameters import Parameters
from ablate.runtime.isolation import isolated
from ablate.runtime.meta_device import META, OnMeta
from ablate.runtime.meta_forms import FormsMode
from ablate.runtime.recompute import outermost, recomputed
from ablate.spec.component import Component, InputSpec
from ablate.training.terms import Terms, simulated_loss, teacher_like

C = TypeVar("C", bound=Component)
Build = Callable[[C, Parameters], torch.optim.Optimizer]  # equal components have equal optimizers
Shapes = tuple[tuple[torch.Size, int], ...]  # of the parameters that an optimizer steps, and how many have each
WORKSPACE = 1 << 20  # bytes that kernels and the allocator take beside the tensors, as measured on the CPU
COPIES = 2  # of the weights, where an optimizer cannot take a step on the meta device: Adam's


@dataclass(frozen=True)
class Footprint:
    """The estimated memory of one training, by what takes it, in bytes."""

    weights: int
    gradients: int
    optimizer: int  # its state
    averages: int
    companion: int  # what guidance trains beside the network, with its optimizer and averages
    activations: int  # the batch, and what the backward pass finds at its beginning
    peak: int  # the most that is there at one time: gradients come while activations go

    @property
    def total(self) -> int:
        """Return the expected total: all together (4W + A with Adam and no average), or the peak, and a workspace.

        The framework itself, the data and the measuring afterwards come on top.
        """
        parts = self.weights + self.gradients + self.optimizer + self.averages + self.companion + self.activations
        return max(parts, self.peak) + WORKSPACE


def footprint(candidate: Candidate, setting: InputSpec, device: str, micro: int | None = None) -> Footprint:
    """Estimate the memory of training a candidate on a kind of device (`cpu`, `cuda`).

    micro: images a forward pass (gradient accumulation); None: as the candidate says.
    """
    return _simulate(Asked(candidate), setting, device, candidate.pass_images(micro))


def estimated(candidate: Candidate, setting: InputSpec, device: str, micro: int | None = None) -> int | None:
    """Return the estimated total in bytes; None where a plugin's code does not run on the meta device."""
    try:
        return footprint(candidate, setting, device, micro).total
    except Exception:  # noqa: BLE001 - an estimate is no reason to fail a trial
        return None


@lru_cache(maxsize=4096)
def _simulate(asked: Asked, setting: InputSpec, device: str, micro: int) -> Footprint:
    if (known := elsewhere.FOOTPRINTS.pop((asked, setting, device, micro), None)) is not None:
        return known
    with isolated():
        return _simulate_step(asked.candidate, setting, device, micro)


def _simulate_step(candidate: Candidate, setting: InputSpec, device: str, micro: int) -> Footprint:
    setting = candidate.inputs(setting)
    alone = _simulate_alone(candidate, setting, device, micro, candidate.devices if candidate.is_sharded else 1)
    sibling = candidate.sibling(setting)
    if sibling is None:
        return alone
    beside = _simulate_alone(candidate.of_sibling(sibling), setting, device, micro)
    kept = beside.weights + beside.optimizer + beside.averages
    # The sibling steps after the network, whose gradients and activations are gone then; both are there all the time.
    own = alone.weights + alone.optimizer + alone.averages
    return replace(alone, companion=kept, peak=max(alone.peak + kept, beside.peak + own))


def _simulate_alone(candidate: Candidate, setting: InputSpec, device: str, micro: int, shards: int = 1) -> Footprint:
    """Simulate one network's training. shards: devices over which its weights lie; of one of them."""
    passes = _simulate_passes(Asked(candidate, of_passes=True), setting, device, micro)
    weights, gradients, peak = passes.weights, passes.gradients, passes.peak
    optimizer = _state(candidate.optimizer, _optimizer, passes.trained)
    averages = _averages(candidate.ema, passes.averaged)
    companion = _companion(candidate, setting)
    if shards > 1:
        peak -= (weights + gradients) * (shards - 1) // shards
        weights, gradients, optimizer, averages = (-(-w // shards) for w in (weights, gradients, optimizer, averages))
        weights, peak = weights + passes.gathered, peak + passes.gathered
    beside = optimizer + averages + companion
    return Footprint(weights, gradients, optimizer, averages, companion, passes.activations, peak + beside)


@dataclass(frozen=True)
class _Passes:
    """What a network's passes take, and of which parameters the rest is kept: the same for each optimizer and average.

    In bytes; weights are those of all that is held.
    """

    weights: int
    gradients: int
    activations: int
    peak: int
    gathered: int  # see `_gathered`
    trained: Shapes
    averaged: tuple[tuple[str, torch.Size, torch.dtype], ...]


@lru_cache(maxsize=1024)
def _simulate_passes(asked: Asked, setting: InputSpec, device: str, micro: int) -> _Passes:
    candidate = asked.candidate.for_setting(setting)
    with OnMeta():
        network = (spare.take(candidate.backbone, setting) or candidate.backbone.build(setting)).train()
        candidate.adapter.apply(network)
        learned = candidate.weighting.build()
        images = [torch.empty(candidate.batch, *setting.shape) for _ in range(3)]  # x0, noise, x
        terms = Terms(candidate, setting, lambda _, build: build())
        teacher = teacher_like(candidate, network, setting)
    trained = [*([network] if learned is None else [network, learned]), terms]
    parameters = [p for module in trained for p in module.parameters() if p.requires_grad]
    live = Live()
    held = trained if teacher is None else [*trained, teacher]
    live.take(tensor for module in held for tensor in (*module.parameters(), *module.buffers()))
    weights = live.now
    live.take(images)
    saved = 0
    for _ in range(1 if micro * candidate.devices >= candidate.batch else 2):  # the second part finds gradients already
        saved = max(
            saved, _simulate_pass(candidate, setting, network, terms, micro, torch.device(device), live, teacher)
        )
    return _Passes(
        weights=weights,
        gradients=_bytes(p.grad for p in parameters if p.grad is not None),
        activations=saved + _bytes(images),
        peak=live.peak,
        gathered=_gathered(network) if candidate.is_sharded else 0,
        trained=_shapes(parameters),
        averaged=tuple((name, p.shape, p.dtype) for name, p in network.named_parameters()),
    )


def _simulate_pass(
    candidate: Candidate,
    setting: InputSpec,
    network: nn.Module,
    terms: Terms,
    micro: int,
    device: torch.device,
    live: Live,
    teacher: nn.Module | None = None,
) -> int:
    """Simulate a forward and a backward pass; return the bytes of the activations that were kept between the two."""
    blocks = outermost(network_blocks(network).values()) if candidate.recompute else []

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        with Formats(device.type), candidate.precision.forward(device):
            yield

    def predict(*inputs: Any) -> Tensor:
        with scope(), recomputed(blocks if torch.is_grad_enabled() else [], scope):
            output: Tensor = network(*inputs)
        return output

    inputs = _inputs(setting, micro)
    before = live.now
    with live:
        if candidate.one_pass:
            loss = predict(*inputs).float().square().mean()
        else:
            loss = simulated_loss(candidate, setting, network, terms, micro, predict, scope, teacher)
        saved = live.now - before
        loss.backward()  # type: ignore[no-untyped-call]
    return saved


def _inputs(setting: InputSpec, count: int) -> tuple[Tensor, Tensor, Labels]:
    return (
        torch.empty(count, *setting.shape, device=META),
        torch.empty(count, device=META),
        told_on_meta(setting, count),
    )


def _state(component: C, build: Build[C], shapes: Shapes) -> int:
    """Return the bytes of an optimizer's state after a step: what each shape of parameter takes, times their number."""
    return sum(_state_of_one(component, build, shape) * count for shape, count in shapes)


def _shapes(parameters: Iterable[nn.Parameter]) -> Shapes:
    return tuple(Counter(parameter.shape for parameter in parameters if parameter.requires_grad).items())


@lru_cache(maxsize=1024)
def _state_of_one(component: C, build: Build[C], shape: torch.Size) -> int:
    parameter = nn.Parameter(torch.empty(shape, device=META))
    parameter.grad = torch.empty_like(parameter)
    try:
        optimizer = build(component, Parameters.of([parameter]))
        optimizer.step()
    except Exception:  # noqa: BLE001 - an optimizer that reads its numbers cannot do so here
        return COPIES * _bytes([parameter])
    return _bytes(leaf for leaf in tree_leaves(optimizer.state[parameter]) if isinstance(leaf, Tensor))


def _gathered(network: nn.Module) -> int:
    """Return the bytes of weights and gradients that are whole at one time, where a network is sharded by its blocks.

    What stands outside of the blocks; of these the one that computes, with its gradients, and the next one.
    """
    blocks = [_bytes(block.parameters()) for block in outermost(network_blocks(network).values())]
    return 2 * (_bytes(network.parameters()) - sum(blocks)) + 3 * max(blocks, default=0)


def _optimizer(component: Optimizer, parameters: Parameters) -> torch.optim.Optimizer:
    return component.build(parameters)


def _companions_optimizer(guidance: TrainedGuidance, parameters: Parameters) -> torch.optim.Optimizer:
    return guidance.optimizer(parameters)


@lru_cache(maxsize=1024)
def _averages(ema: Ema, averaged: tuple[tuple[str, torch.Size, torch.dtype], ...]) -> int:
    """Return the bytes of the averages of weights of these names, shapes and formats."""
    average = ema.build({name: torch.empty(shape, dtype=dtype, device=META) for name, shape, dtype in averaged})
    return _bytes(average.state().values())


def _companion(candidate: Candidate, setting: InputSpec) -> int:
    guidance = candidate.guidance
    if not isinstance(guidance, TrainedGuidance):
        return 0
    with OnMeta():
        network = guidance.companion(setting)
    state = _state(guidance, _companions_optimizer, _shapes(network.parameters()))
    return _bytes(network.state_dict().values()) + state


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of the storages of these tensors, each counted once."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


class Live(FormsMode):
    """Tracks the bytes of all live storages: `now`, and at the `peak`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def take(self, tensors: Iterable[Any]) -> None:
        """Count the storages of these tensors, until they are freed."""
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                self._hold(tensor)

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if place in self._alive:
            return

        def forget(_: object) -> None:
            self.now -= size
            self._alive.pop(place, None)

        self._alive[place] = weakref.ref(storage, forget)
        self.now += size
        self.peak = max(self.peak, self.now)

    def saw(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Count what an operation gave."""
        if type(out) is Tensor:  # as most do
            self._hold(out)
        else:
            self.take(_leaves(out))


def _leaves(out: Any) -> Iterable[Any]:
    """Return the outputs of an operation, as most that has several gives a tuple without lists in it."""
    return out if type(out) is tuple and list not in map(type, out) else tree_leaves(out)


class Formats(TorchFunctionMode):
    """Imitates on the meta device what a real one does: autocast (mixed precision), and fused attention."""

    LOWER = frozenset(
        {
            *("linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"),
            *("matmul", "__matmul__", "mm", "bmm", "addmm", "addbmm", "baddbmm", "einsum"),
            *("scaled_dot_product_attention",),
        }
    )

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in self.LOWER and torch.is_autocast_enabled(self.device):
            args, kwargs = tree_map(self._autocast, args), tree_map(self._autocast, kwargs)
        if name == "scaled_dot_product_attention" and len(args) == 3 and not kwargs.get("dropout_p"):
            fused = {key: kwargs[key] for key in ("attn_mask", "is_causal", "scale") if key in kwargs}
            if len(fused) + ("dropout_p" in kwargs) == len(kwargs):
                return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*args, **fused)[0]
        return func(*args, **kwargs)

    def _autocast(self, value: Any) -> Any:
        wide = isinstance(value, Tensor) and value.dtype == torch.float32
        return value.to(torch.get_autocast_dtype(self.device)) if wide else value
