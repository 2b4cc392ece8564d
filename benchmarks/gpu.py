"""Training steps on a device beside others' networks: images a second, the share of time it computes, memory.

    python benchmarks/gpu.py --device cuda --csv benchmarks/gpu.csv --figure docs/pictures/gpu.png
    python benchmarks/gpu.py --small --no-compile          # a minute on a CPU: whether the script works

DiT-S/2 and B/2 on 4×32×32 latents, a small DiT (depth 6, width 192, patch 2 on 4×16×16), DDPM's U-Net and EDM's
(DDPM++) on 3×32×32, batch 256: `ours` beside diffusers' `DiTTransformer2DModel` or `UNet2DModel`, a plain DiT and
EDM's U-Net in torch's own words (`edm_unet.py`), each as it is and by `torch.compile`. Each takes the same step:
forward in the number format, squared error, backward, fused AdamW. `ablate` is the whole step of a trial beside
them, with its draws, noise, clipping and average; `captured` the same step as a CUDA graph. Rounds take turns; the
figure is the median. `ratio` is to the first peer's network (diffusers' where there is one) as it is, in the same
format. `busy` and `launches` are those of `ablate profile`. What does not fit or is not installed is a row that
says so in `note`. `pack of 8` is the whole step of eight seeds of the small DiT trained as one, beside `pack of 1`, the
same step of one seed in the same rounds: images a second of all of them, and in `note` the time over that of one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import bench
import dit_step
import edm_unet
import numpy as np
import torch
import unet_step
import yaml
from torch import Tensor, nn

import ablate
from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.kinds.data import Dataset
from ablate.runtime.memory import out_of_memory
from ablate.spec.component import InputSpec
from ablate.spec.explain import exception_summary
from ablate.training.learner import Images, Learner
from ablate.training.pack import Pack
from ablate.training.step_profile import profile_steps

COLUMNS = ("network", "step", "compile", "precision", "batch", "images_per_second", "ratio", "busy", "launches")
COLUMNS += ("memory_bytes", "compile_seconds", "rounds", "device", "torch", "note")
SHOWN = ("network", "step", "compile", "precision", "images_per_second", "ratio", "busy", "note")
FORMATS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
CLASSES = dit_step.CLASSES
Step = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One network that all can be."""

    name: str
    shape: tuple[int, int, int]
    spec: dict[str, Any]  # of the backbone
    peers: dict[str, Callable[[], nn.Module]]
    classes: int | None = None


def dit(name: str, depth: int, width: int, heads: int, shape: tuple[int, int, int]) -> Case:
    spec = {"type": "dit", "patch": 2, "depth": depth, "width": width, "heads": heads}
    own = (depth, width, heads, 2, shape)
    peers = {"diffusers": lambda: dit_step.theirs(*own), "plain": lambda: dit_step.Plain(*own)}
    return Case(name, shape, spec, peers, CLASSES)


class Sample(nn.Module):
    """diffusers' U-Net, called as the others are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, noise: Tensor, labels: None) -> Tensor:
        """(B, C, H, W), (B,) -> (B, C, H, W)."""
        output: Tensor = self.network(x, noise).sample
        return output


def unet(shape: unet_step.Shape) -> Case:
    spec = unet_step.ours(shape).spec()
    return Case(
        f"unet {shape.width}", unet_step.SETTING.shape, spec, {"diffusers": lambda: Sample(unet_step.peer(shape))}
    )


def edm(width: int, multipliers: tuple[int, ...], blocks: int, groups: int) -> Case:
    """EDM's DDPM++, ours from the file of the published network."""
    file = Path(__file__).parents[1] / "studies" / "models" / "edm_cifar10_ddpmpp.yaml"
    sizes = {"width": width, "multipliers": multipliers, "blocks": blocks, "groups": groups, "stem_width": width}
    spec = {**yaml.safe_load(file.read_text(encoding="utf-8"))["backbone"], **sizes}
    own = {"width": width, "multipliers": multipliers, "blocks": blocks, "groups": groups}
    return Case(f"edm {width}", (3, 32, 32), spec, {"edm": lambda: edm_unet.EdmUNet(**own)}, CLASSES)


def cases(small: bool) -> list[Case]:
    if small:
        unets = unet_step.Shape("ddpm", 8, (1, 2), 1, None)
        return [dit("small", 1, 32, 2, (4, 8, 8)), unet(unets), edm(16, (1, 2), 1, 4)]
    shape = (4, 32, 32)
    dits = [dit("small", 6, 192, 3, (4, 16, 16)), dit("S/2", 12, 384, 6, shape), dit("B/2", 12, 768, 12, shape)]
    return [*dits, unet(unet_step.Shape("ddpm", 128, (1, 2, 2, 2), 2, None)), edm(128, (2, 2, 2), 4, 32)]


def stepper(network: nn.Module, case: Case, batch: int, precision: str, device: torch.device, compiled: bool) -> Step:
    """The same step for everybody's network: no draws, no average, one batch."""
    network.train()
    optimizer = torch.optim.AdamW((p for p in network.parameters() if p.requires_grad), lr=1e-4, fused=True)
    call = torch.compile(network, dynamic=False) if compiled else network
    x, noise = torch.randn(batch, *case.shape, device=device), torch.rand(batch, device=device) * 999
    wanted = torch.randn_like(x)
    labels = None if case.classes is None else torch.randint(case.classes, (batch,), device=device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    dtype = FORMATS[precision]

    def step() -> None:
        with nullcontext() if dtype is None else torch.autocast(device.type, dtype):
            output = call(x, noise, labels)
        scaler.scale((output.float() - wanted).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def trial_step(
    case: Case, batch: int, precision: str, device: torch.device, compiled: bool, captured: bool = False
) -> Step:
    """The whole step of a trial of `ablate`, on random images."""
    learner = trial_learner(case, batch, precision, device, compiled, 0, captured)
    return lambda: learner.step(1e9)


def trial_learner(
    case: Case,
    batch: int,
    precision: str,
    device: torch.device,
    compiled: bool,
    seed: int,
    captured: bool = False,
) -> Learner:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (2 * batch, *case.shape), dtype=np.uint8)
    labels = None if case.classes is None else generator.integers(0, case.classes, 2 * batch)
    data = Dataset(pixels, labels, pixels, labels, case.classes, "0" * 64)
    more = {"batch": batch, "precision": precision, "compile": "default" if compiled else "none"}
    more |= {"capture": "auto" if captured else "none"}
    candidate = compose({"backbone": case.spec, "clip": "global_norm", **more}, catalog())
    learner = Learner(candidate, InputSpec(case.shape, case.classes), Images(data, device), seed, device, None)
    learner.network.train()
    learner.prepare(lambda: None)
    if learner.compiled is not None and learner.compiled.result.eager is not None:
        raise RuntimeError(learner.compiled.result.eager)
    while learner.captured is not None and not learner.captured.result.replayed:
        if learner.captured.result.plain is not None:
            raise RuntimeError(learner.captured.result.plain)
        learner.step(1e9)
    return learner


def contenders(case: Case, compiles: bool) -> Iterator[tuple[str, bool, Callable[..., Step]]]:
    def of(build: Callable[[], nn.Module]) -> Callable[..., Step]:
        def make(batch: int, precision: str, device: torch.device, compiled: bool) -> Step:
            with device:
                network = build()
            return stepper(network, case, batch, precision, device, compiled)

        return make

    ours = of(lambda: ablate.create("backbone", case.spec).build(InputSpec(case.shape, case.classes)))
    everyone = {**{name: of(build) for name, build in case.peers.items()}, "ours": ours}
    for compiled in (False, True) if compiles else (False,):
        for name, make in everyone.items():
            yield name, compiled, make
        yield "ablate", compiled, lambda *how: trial_step(case, *how)
        yield "captured", compiled, lambda *how: trial_step(case, *how, captured=True)


def measure(case: Case, precision: str, asked: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """The rows of one network in one format."""
    shared = {"network": case.name, "precision": precision, "batch": asked.batch, "rounds": asked.rounds}
    shared |= {"device": device_name(device), "torch": torch.__version__.partition("+")[0]}
    steps: dict[tuple[str, bool], Step] = {}
    rows: dict[tuple[str, bool], dict[str, Any]] = {}
    for name, compiled, make in contenders(case, not asked.no_compile):
        key = (name, compiled)
        rows[key] = {**dict.fromkeys(COLUMNS, ""), **shared, "step": name, "compile": "default" if compiled else "none"}
        torch.manual_seed(0)
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        begun = time.perf_counter()
        try:
            step = make(asked.batch, precision, device, compiled)
            step()
            rows[key]["compile_seconds"] = f"{time.perf_counter() - begun:.1f}" if compiled else ""
            profile = profile_steps(step, device, asked.profiled, None)
        except Exception as error:  # noqa: BLE001 - a row that says so, and the others go on
            rows[key]["note"] = "out of memory" if out_of_memory(error) else exception_summary(error)[:120]
            continue
        rows[key] |= {"busy": f"{profile.busy:.3f}", "launches": f"{profile.launches:.0f}"}
        if device.type == "cuda":
            rows[key]["memory_bytes"] = torch.cuda.max_memory_allocated(device) - before
        steps[key] = step
    watch = bench.Stopwatch(device, asked.clock)
    watch.turn(steps, 0)  # a training of ablate's forgets what others compiled: it is compiled again here
    turns = [watch.turn(steps, number) for number in range(asked.rounds)]
    for key, row in rows.items():
        if key in steps:
            row["images_per_second"] = f"{asked.batch / statistics.median(turn[key] for turn in turns):.1f}"
            first = next(iter(case.peers)), False
            if first in steps:
                ratio = statistics.median(turn[first] / turn[key] for turn in turns)
                row["ratio"] = f"{ratio:.3f}"
        yield row


def measure_packs(
    case: Case, precision: str, asked: argparse.Namespace, device: torch.device
) -> Iterator[dict[str, Any]]:
    """The rows of seeds of one network that are trained as one, beside one seed."""
    shared = {**dict.fromkeys(COLUMNS, ""), "network": case.name, "compile": "none", "precision": precision}
    shared |= {"batch": asked.batch, "rounds": asked.rounds}
    shared |= {"device": device_name(device), "torch": torch.__version__.partition("+")[0]}
    steps: dict[int, Step] = {}
    rows: dict[int, dict[str, Any]] = {}
    for count in (1, asked.seeds):
        rows[count] = {**shared, "step": f"pack of {count}"}
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        try:
            learners = [trial_learner(case, asked.batch, precision, device, False, seed) for seed in range(count)]
            if count == 1:
                steps[count] = partial(learners[0].step, 1e9)
            else:
                steps[count] = partial(Pack(learners).step, [(1e9, ())] * count)
            steps[count]()
            profile = profile_steps(steps[count], device, asked.profiled, None)
        except Exception as error:  # noqa: BLE001 - a row that says so, and the others go on
            rows[count]["note"] = "out of memory" if out_of_memory(error) else exception_summary(error)[:120]
            steps.pop(count, None)
            continue
        rows[count] |= {"busy": f"{profile.busy:.3f}", "launches": f"{profile.launches:.0f}"}
        if device.type == "cuda":
            rows[count]["memory_bytes"] = torch.cuda.max_memory_allocated(device) - before
    watch = bench.Stopwatch(device, asked.clock)
    turns = [watch.turn(steps, number) for number in range(asked.rounds)] if steps else []
    for count, row in rows.items():
        if count in steps:
            row["images_per_second"] = f"{count * asked.batch / statistics.median(turn[count] for turn in turns):.1f}"
            if 1 in steps:
                times = statistics.median(turn[count] / turn[1] for turn in turns)
                row["note"] = f"{times:.3f} times the time of one seed"
        yield row


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Bars of images a second, a panel a network, with the name of the card."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(row["network"] for row in rows))
    figure = Figure(figsize=(4 * len(networks), 4), layout="constrained")
    figure.suptitle(f"training steps on {rows[0]['device']}, batch {rows[0]['batch']}, torch {rows[0]['torch']}")
    for axes, network in zip(np.atleast_1d(figure.subplots(1, len(networks))), networks, strict=True):
        own = [row for row in rows if row["network"] == network and row["images_per_second"]]
        names = [f"{row['step']}{', compiled' if row['compile'] != 'none' else ''}, {row['precision']}" for row in own]
        axes.barh(names, [float(row["images_per_second"]) for row in own])
        axes.invert_yaxis()
        axes.set(title=network, xlabel="images a second")
    figure.savefig(file, dpi=120)


def main() -> int:
    parser = bench.options(__doc__, rounds=30)
    parser.add_argument("--small", action="store_true", help="tiny networks and batches: whether the script works")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--precisions", nargs="+", choices=FORMATS)
    parser.add_argument(
        "--networks", nargs="+", metavar="NAME", help="of small, S/2, B/2, unet …, edm …; all by default"
    )
    parser.add_argument("--seeds", type=int, help="in a pack; 8, or 3 in the small form")
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device is to be seen here: say --device cpu --small", file=sys.stderr)
        return 2
    asked.batch = asked.batch or (4 if asked.small else 256)
    asked.rounds, asked.profiled = (2, 1) if asked.small else (asked.rounds, 5)
    asked.seeds = asked.seeds or (3 if asked.small else 8)
    chosen = [case for case in cases(asked.small) if asked.networks is None or case.name in asked.networks]
    if not chosen:
        print(f"there are: {', '.join(case.name for case in cases(asked.small))}", file=sys.stderr)
        return 2
    rows = []
    for case in chosen:
        for precision in asked.precisions or (("fp32", "bf16") if asked.small else ("bf16", "fp16", "fp32")):
            packs = measure_packs(case, precision, asked, device) if case.name == "small" else iter(())
            for row in chain(measure(case, precision, asked, device), packs):
                rows.append(row)
                bench.show(row, SHOWN)
                bench.keep(rows, COLUMNS, asked.csv)
    if asked.figure is not None:
        draw(rows, asked.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
