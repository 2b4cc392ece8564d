"""Random candidates from the whole space of networks: each trains, or is refused with a reason before it is built.

ABLATE_UNET_CANDIDATES=500 draws as many U-Nets; each is decided by its number alone. Those of all networks, with parts
left out, mixers that read an order, and adapters, are 500 with --thorough.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

from ablate.candidates.candidate import compose, cost_of, misfits, trainable_params
from ablate.discovery.catalog import catalog
from ablate.errors import InputError, SpecError
from ablate.spec.component import Choice, InputSpec, Range
from ablate.spec.slots import slot_kind

COUNT = int(os.environ.get("ABLATE_UNET_CANDIDATES", "40"))
SETTINGS = [
    InputSpec((channels, *size), classes)
    for channels in (1, 3, 4)
    for size in ((8, 8), (12, 8), (6, 10), (16, 16))
    for classes in (None, 5)
]


def drawn(kind: str, rng: random.Random) -> dict[str, Any]:
    """The spec of a component of a kind, each field at its default or drawn from what it may hold."""
    name = rng.choice([n for n in catalog().names(kind) if catalog().entry(kind, n).distribution == "ablate"])
    spec: dict[str, Any] = {"type": name}
    for field, info in catalog().get(kind, name).model_fields.items():
        if rng.random() < 0.5:
            continue
        held = slot_kind(info)
        value = drawn(held.kind, rng) if held else _value(info, rng)
        if value is not None:
            spec[field] = value
    return spec


def _value(info: Any, rng: random.Random) -> Any:
    for meta in info.metadata:
        if isinstance(meta, Choice):
            return rng.choice(meta.values)
        if isinstance(meta, Range):
            return rng.uniform(meta.low, meta.high)
    if info.annotation is bool:
        return rng.random() < 0.5
    return rng.choice(get_args(info.annotation)) if get_origin(info.annotation) is Literal else None


def unet(rng: random.Random) -> dict[str, Any]:
    """A small U-Net; its numbers are drawn too, whether they fit together or not."""
    levels = rng.choice([1, 2, 2, 3])
    fields = catalog().get("backbone", "unet").model_fields
    switches = {f: _value(info, rng) for f, info in fields.items() if not slot_kind(info)}
    spec = {
        **{f: v for f, v in switches.items() if v is not None and rng.random() < 0.5},
        "type": "unet",
        "width": rng.choice([4, 8, 8, 16]),
        "multipliers": [rng.choice([0.5, 1, 1, 1, 2, 3]) for _ in range(levels)],
        "stem_width": rng.choice([None, None, 8]),
        "blocks": rng.choice([1, 1, 2]),
        "groups": rng.choice([1, 2, 2, 4]),
        "attention_resolutions": rng.sample([8, 6, 4, 3], rng.choice([0, 0, 0, 1])),
        "low_resolution": rng.random() < 0.05,
        **rng.choice([{"heads": rng.choice([1, 1, 2, 3, 4])}, {"head_width": rng.choice([2, 4])}]),
        "conditioning": drawn("conditioning", rng),
        "fusion": drawn("fusion", rng),
    }
    return spec if rng.random() < 0.1 else agreeing(spec)


def agreeing(spec: dict[str, Any]) -> dict[str, Any]:
    """The same with options that go together, which few draws have."""
    changed = dict(spec)
    if spec.get("weight_norm", "none") != "none":
        changed["zero_init"] = False
    if spec.get("pixel_norm"):
        changed["norm"] = "none"
    if spec.get("block_order") == "convolution_first":
        changed["norm_affine"] = True
    if spec.get("padding") == "end":
        changed |= {"down": "strided_conv", "convolution": "full"}
    if spec.get("class_embedding") == "before_mlp":
        changed |= {"second_label": False, "mp_embedding": False}
    return changed


def transformer(rng: random.Random) -> dict[str, Any]:
    """A small transformer, with blocks left out, some of which it may not have."""
    name = rng.choice(["dit", "dit", "uvit", "ddt", "hourglass", "dimr"])
    fields = catalog().get("backbone", name).model_fields
    switches = {f: _value(info, rng) for f, info in fields.items() if not slot_kind(info) and f != "depth"}
    slots = {f: drawn(held.kind, rng) for f, info in fields.items() if (held := slot_kind(info)) and f != "embedders"}
    depth = rng.choice([2, 3, 4])
    return {
        **{f: v for f, v in switches.items() if v is not None and rng.random() < 0.5},
        **{f: v for f, v in slots.items() if rng.random() < 0.3},
        "type": name,
        "patch": rng.choice([1, 2, 2, 4]),
        "depth": depth,
        "width": rng.choice([8, 16, 16, 24]),
        "heads": rng.choice([1, 2, 2, 4, 3]),
        "base_width": rng.choice([None] * 9 + [8]),
        "without": [n for n in range(depth + rng.choice([0, 0, 0, 1])) if rng.random() < 0.15],
    }


def pruned_unet(rng: random.Random) -> dict[str, Any]:
    """A small U-Net with any attention, and parts left out, some of which it may not have."""
    spec = unet(rng)
    sizes = [16, 8, 4, 12, 6, 3]
    names = [
        f"{part}.{what}.{size}" for part in ("encoder", "decoder") for what in ("block", "attention") for size in sizes
    ]
    left_out = rng.sample([*names, "middle", "middle.attention", "decoder.block.8.0"], rng.choice([0, 0, 0, 1]))
    outer = {"outer_attention": drawn("mixer", rng), "outer_attention_resolutions": rng.sample(sizes[:4], 1)}
    attention = {"attention": drawn("mixer", rng), **rng.choice([{}, {}, outer])}
    return {**spec, **attention, "without": left_out}


def whole(rng: random.Random) -> dict[str, Any]:
    """A candidate of any network, which may begin with trained weights, be adapted, or be taught by what it was."""
    backbone = rng.choice([transformer, transformer, pruned_unet])(rng)
    spec = {"backbone": backbone, "loss": "hybrid_vlb" if backbone.get("learned_sigma") else "mse"}
    if rng.random() < 0.5:
        return spec  # new weights
    start = "scratch" if rng.random() < 0.1 else "baseline"
    objective = rng.choice(["denoise", "denoise", {"type": "imitate", "weight": 0.5}])
    return {**spec, "start": start, "adapter": drawn("adapter", rng), "objective": objective}


def outcome(number: int, draw: Callable[[random.Random], dict[str, Any]]) -> str:
    """What becomes of a candidate: "refused", or "trained"."""
    rng = random.Random(number)
    setting, spec = rng.choice(SETTINGS), draw(rng)
    try:
        candidate = compose(spec, catalog())
    except SpecError as refusal:
        assert all(problem.message for problem in refusal.problems)
        return "refused"
    if problems := misfits(candidate, None, setting):
        assert all(problem.message for problem in problems)
        return "refused"
    assert cost_of(candidate.backbone, setting).macs > 0
    try:
        adapted = trainable_params(candidate, setting)
    except InputError as refusal:
        assert refusal.message
        return "refused"
    torch.manual_seed(number)
    network = candidate.backbone.build(setting).train()
    candidate.adapter.apply(network)
    trained = [p for p in network.parameters() if p.requires_grad]
    assert adapted == sum(p.numel() for p in trained) > 0
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    x, noise = torch.randn(2, *setting.shape), torch.rand(2) * 999
    labels = None if setting.classes is None else torch.tensor([0, setting.classes])
    for _ in range(2):  # in the second step, what began at zero lets gradients through
        optimizer.zero_grad()
        out = network(x, noise, labels)
        assert out.shape[2:] == x.shape[2:] and out.shape[1] == x.shape[1] * (2 if spec["loss"] == "hybrid_vlb" else 1)
        out.sub(1).square().mean().backward()
        bad = [name for name, p in network.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        assert not bad, f"gradients of {bad}"
        optimizer.step()
    assert network(x, noise, labels).isfinite().all()
    return "trained"


def a_unet(rng: random.Random) -> dict[str, Any]:
    """A candidate of a U-Net."""
    spec = unet(rng)
    return {"backbone": spec, "loss": "hybrid_vlb" if spec.get("learned_sigma") else "mse"}


def counted(count: int, draw: Callable[[random.Random], dict[str, Any]]) -> dict[str, int]:
    """How many of the candidates are trained, and how many refused."""
    found = {"trained": 0, "refused": 0}
    for number in range(count):
        try:
            found[outcome(number, draw)] += 1
        except Exception as error:  # noqa: BLE001 - with the candidate that it comes from
            rng = random.Random(number)
            pytest.fail(f"candidate {number}, {rng.choice(SETTINGS)}, {draw(rng)}: {type(error).__name__}: {error}")
    print(found)  # with -s: of 500, how many
    return found


def test_random_candidates_train_or_are_refused_with_a_reason():
    found = counted(COUNT, a_unet)
    assert found["trained"] >= COUNT // 4 and found["refused"] >= COUNT // 10


@pytest.mark.thorough
def test_500_candidates_of_all_networks_train_or_are_refused_with_a_reason():
    found = counted(500, whole)
    assert found["trained"] >= 100 and found["refused"] >= 50
