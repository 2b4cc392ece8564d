"""Checks of a network, whichever part of it is under test: backbone, conditioning or fusion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from typing import get_origin

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ablate.candidates.candidate import cost_of
from ablate.discovery.catalog import Catalog
from ablate.errors import InputError, SpecError
from ablate.kinds.backbone import Backbone, network_blocks
from ablate.runtime.randomness import seed_all
from ablate.runtime.recompute import outermost, recomputed
from ablate.spec.component import InputSpec
from ablate.spec.slots import slot_kind
from ablate.testing.case import SEED, Case, Check, NotApplicable, clash
from ablate.testing.small import settle, shrink

BATCH = 4
STEPS = 8
BF16 = 0.05  # relative distance in bfloat16, whose numbers have 8 bits


def subject(case: Case) -> tuple[Backbone, InputSpec]:
    """Return a small backbone under test and data for it: the component itself, or one that has a slot for it."""
    component = case.component
    if isinstance(component, Backbone):
        backbone, setting = component, settle(component)
    else:
        host = next(hosts(case), None)
        if host is None:
            needs = ", ".join(map(repr, component.requires()))
            what = f"a {case.kind} that needs {needs}" if needs else f"a {case.kind}"
            raise NotApplicable(f"no backbone here has a place for {what}")
        backbone, setting = host, settle(host)
        return shrink(backbone, setting, _plain(host, setting, case.catalog)), setting
    return shrink(backbone, setting), setting


def _plain(host: Backbone, setting: InputSpec, catalog: Catalog) -> Backbone | None:
    """Return the host with its own defaults, made small: once for all components that are tried in it."""
    try:
        plain = catalog.create("backbone", {"type": host.spec()["type"]})
        return shrink(plain, setting) if isinstance(plain, Backbone) else None
    except InputError:
        return None  # it has no complete defaults, or does not work with them


def hosts(case: Case) -> Iterator[Backbone]:
    """Yield backbones that hold the component in a slot of theirs, and provide what it requires."""
    catalog: Catalog = case.catalog
    for entry in catalog.entries("backbone"):
        for field, info in entry.cls.model_fields.items():
            kind = slot_kind(info)
            if kind is None or kind.kind != case.kind or get_origin(info.annotation) is tuple:
                continue
            try:
                backbone = catalog.create("backbone", {"type": entry.full_name, field: case.component})
            except SpecError:
                continue
            provided = frozenset[str]().union(*(part.provides() for _, part in backbone.parts()))
            if case.component.requires().keys() <= provided and not clash(backbone) and isinstance(backbone, Backbone):
                yield backbone


def begin(backbone: Backbone, setting: InputSpec, seed: int = 0) -> nn.Module:
    """Return the network with its initial weights."""
    seed_all(SEED + seed)
    return backbone.build(setting)


def live(backbone: Backbone, setting: InputSpec, seed: int = 0) -> nn.Module:
    """Return the network as it is somewhere in training: every weight moved, so that no zero switches anything off."""
    network = begin(backbone, setting, seed).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    return network


def batch(setting: InputSpec, count: int = BATCH, seed: int = 7) -> tuple[Tensor, Tensor, Tensor | None]:
    """Draw noisy images (B, C, H, W), labels of the noise level (B,), class labels (B,) without the null class."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *setting.shape, generator=generator)
    noise = torch.rand(count, generator=generator) * 999
    labels = None if setting.classes is None else torch.arange(count) % setting.classes
    return x, noise, labels


def close(one: Tensor, other: Tensor, tolerance: float = 1e-4) -> bool:
    """Return whether two outputs are equal but for rounding."""
    return float((one - other).abs().max()) <= tolerance * max(1.0, float(other.abs().max()))


def builds_on_the_meta_device(case: Case) -> None:
    """On the meta device nothing is allocated, and it is the same network as on the CPU; so it can be counted."""
    backbone, setting = subject(case)
    with torch.device("meta"):
        counted = backbone.build(setting)
    state, real = counted.state_dict(), begin(backbone, setting).state_dict()
    for name, tensor in (*counted.named_parameters(), *counted.named_buffers()):
        assert tensor.is_meta, f"{name} is made on {tensor.device}: do not name a device in `build`"
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in real.items()}, (
        "another network than on the CPU"
    )


def has_a_cost(case: Case) -> None:
    """Parameters, macs and Gflops are counted, and are more than nothing."""
    backbone, setting = subject(case)
    cost = cost_of(backbone, setting)
    params = sum(p.numel() for p in begin(backbone, setting).parameters() if p.requires_grad)
    assert cost.params == params, f"{cost.params} parameters on the meta device, {params} on the CPU"
    assert cost.macs > 0, "no matrix work was counted: use torch's own linear, convolution and attention"
    assert cost.gflops * 1e9 >= cost.macs


def gives_the_shape(case: Case) -> None:
    """(B, C, H, W) in, (B, C, H, W) out, or 2·C channels with "learned_variance"; for data with labels and without."""
    variants = [part for part in case.variants() if isinstance(part, Backbone)]
    like = subject(case)[0]
    for backbone in variants or [like]:
        setting = settle(backbone)
        small = shrink(backbone, setting, like if type(like) is type(backbone) else None)
        channels, height, width = setting.shape
        outputs = 2 * channels if "learned_variance" in backbone.provides() else channels
        for data in (setting, InputSpec(setting.shape, None)):
            network = live(small, data)
            for count in (1, 3):
                with torch.no_grad():
                    y = network(*batch(data, count))
                assert y.shape == (count, outputs, height, width), f"{tuple(y.shape)} for a batch of {count}"
                assert y.dtype == torch.float32, f"gives {y.dtype} for float32"
                assert y.isfinite().all(), "gives numbers that are not finite"


def trains(case: Case) -> None:
    """Every parameter is reached by a finite gradient within a few steps, and the loss falls."""
    backbone, setting = subject(case)
    network = begin(backbone, setting).train()
    x, noise, labels = batch(setting)
    target = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    reached: set[str] = set()
    losses = []
    for _ in range(STEPS):
        network.zero_grad()
        loss = (network(x, noise, labels)[:, : x.shape[1]] - target).square().mean()
        loss.backward()
        for name, p in network.named_parameters():
            if p.grad is not None and p.requires_grad:
                assert p.grad.isfinite().all(), f"the gradient of {name} is not finite"
                reached.update([name] if p.grad.count_nonzero() else [])
        optimizer.step()
        losses.append(float(loss.detach()))
    unused = [name for name, p in network.named_parameters() if p.requires_grad and name not in reached]
    unused = [name for name in unused if not _of_the_variance(name, network, backbone, setting)]
    assert not unused, f"no gradient reaches {', '.join(unused[:5])}: not used in forward, or cut off from it"
    assert losses[-1] < losses[0], f"the loss does not fall in {STEPS} steps: {losses[0]:.4g} to {losses[-1]:.4g}"


def _of_the_variance(name: str, network: nn.Module, backbone: Backbone, setting: InputSpec) -> bool:
    """Return whether a parameter serves the learned variance alone, which the loss above does not train."""
    if "learned_variance" not in backbone.provides():
        return False
    network.zero_grad()
    network(*batch(setting)).sum().backward()
    grad = dict(network.named_parameters())[name].grad
    return grad is not None and bool(grad.count_nonzero())


def is_deterministic(case: Case) -> None:
    """One seed gives one network, another seed another; one network gives the same output twice."""
    backbone, setting = subject(case)
    first, second, other = (begin(backbone, setting, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[k], second[k]) for k in first), "one seed gives two networks: draw from torch alone"
    assert any(not torch.equal(first[k], other[k]) for k in first), "all seeds give the same network"
    network = live(backbone, setting)
    with torch.no_grad():
        assert torch.equal(network(*batch(setting)), network(*batch(setting))), (
            "in eval(), the output is not repeatable"
        )


def keeps_its_state(case: Case) -> None:
    """A state dict through safetensors into a new network, and a copy of the network, give equal outputs."""
    backbone, setting = subject(case)
    network, other = live(backbone, setting), live(backbone, setting, seed=5)
    other.load_state_dict(load(save({k: v.clone() for k, v in network.state_dict().items()})))
    with torch.no_grad():
        y = network(*batch(setting))
        assert torch.equal(other(*batch(setting)), y), "a state that the state dict does not hold decides the output"
        assert torch.equal(deepcopy(network)(*batch(setting)), y), "a deep copy gives another output"


def can_be_computed_again(case: Case) -> None:
    """Activation checkpointing (`recompute`) gives the same gradients: a block changes nothing that it is given."""
    backbone, setting = subject(case)
    network = live(backbone, setting).train()
    gradients: list[list[Tensor]] = []
    for blocks in ([], outermost(network_blocks(network).values())):
        network.zero_grad()
        torch.manual_seed(SEED)
        with recomputed(blocks, nullcontext):
            network(*batch(setting)).square().mean().backward()
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
    same = len(gradients[0]) == len(gradients[1]) and all(map(torch.equal, *gradients))
    assert same, "with activation checkpointing the gradients are others"


def runs_in_bf16(case: Case) -> None:
    """Under autocast to bfloat16 the output is that of fp32 within 5 %, and the gradients are finite."""
    backbone, setting = subject(case)
    network = live(backbone, setting)
    with torch.no_grad():
        exact = network(*batch(setting))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network(*batch(setting)).float()
    distance = float((rough - exact).detach().norm() / exact.norm())
    assert distance <= BF16, f"{distance:.1%} off"
    rough.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None), "gradients are not finite"


def keeps_images_apart(case: Case) -> None:
    """An image's output depends on nothing else in the batch, nor on its place in it."""
    backbone, setting = subject(case)
    network = live(backbone, setting)
    x, noise, labels = batch(setting)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        y = network(x, noise, labels)
        moved = network(x[order], noise[order], None if labels is None else labels[order])
        alone = network(x[:1], noise[:1], None if labels is None else labels[:1])
    assert close(moved, y[order]), "in another order, the images come out differently"
    assert close(alone, y[:1]), "an image alone comes out differently than in a batch"


def listens_to_its_condition(case: Case) -> None:
    """The output depends on the noise level and on the class."""
    backbone, setting = subject(case)
    network = live(backbone, setting)
    x, noise, labels = batch(setting)
    assert labels is not None and setting.classes is not None
    with torch.no_grad():
        y = network(x, noise, labels)
        assert not torch.equal(network(x, 999 - noise, labels), y), "the noise level makes no difference"
        assert not torch.equal(network(x, noise, (labels + 1) % setting.classes), y), "the class makes no difference"


def knows_no_class(case: Case) -> None:
    """With "null_class", the label `classes` is taken for no class: its output is like that of no other."""
    backbone, setting = subject(case)
    assert setting.classes is not None
    if "null_class" not in backbone.provides():
        raise NotApplicable("does not provide 'null_class'")
    network = live(backbone, setting)
    x, noise, _ = batch(setting)
    with torch.no_grad():
        null = network(x, noise, torch.full((BATCH,), setting.classes))
        assert null.isfinite().all()
        for label in range(setting.classes):
            assert not torch.equal(null, network(x, noise, torch.full((BATCH,), label))), f"is taken for class {label}"


CHECKS: tuple[Check, ...] = (
    builds_on_the_meta_device,
    has_a_cost,
    gives_the_shape,
    trains,
    is_deterministic,
    keeps_its_state,
    can_be_computed_again,
    runs_in_bf16,
    keeps_images_apart,
    listens_to_its_condition,
    knows_no_class,
)
