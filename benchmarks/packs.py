"""Seeds trained as one (a pack) beside the same seeds one after the other: seconds of a step of all of them.

    python benchmarks/packs.py --csv benchmarks/packs.csv
    python benchmarks/packs.py --device cuda --depth 6 --width 192 --batch 256 --members 8

A DiT with patch 2 on 4×16×16 latents; the whole step of a trial: draws, noise, forward and backward pass, clipping,
AdamW, average; in a pack with optimizers and averages over the stack, or each member's own. All ways have the same
threads, keep the memory that they free, as a pack's process does, and take turns within a round; who begins alternates.
`ratio` is the median over rounds of a way over separate, by the clock on the wall (`wall`) and by the seconds that the
process computed (`cpu`), which a busy machine disturbs less. `difference` is the largest one between a packed and a
separate network's weights at the end, over the largest weight.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import bench
import numpy as np
import torch

from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.kinds.data import Dataset
from ablate.runtime.memory import freed_memory_kept
from ablate.spec.component import InputSpec
from ablate.training.learner import Images, Learner
from ablate.training.pack import Pack

COLUMNS = ("members", "way", "threads", "wall_seconds", "cpu_seconds", "wall_ratio", "cpu_ratio", "difference")
COLUMNS += ("depth", "width", "batch", "rounds", "device", "torch")
SHOWN = COLUMNS[:8]
SHAPE, CLASSES = (4, 16, 16), 10
HORIZON = 1e9


def learners(count: int, depth: int, width: int, batch: int, device: torch.device) -> list[Learner]:
    """Learners of so many seeds."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (4 * batch, *SHAPE), dtype=np.uint8)
    labels = generator.integers(0, CLASSES, 4 * batch)
    images = Images(Dataset(pixels, labels, pixels, labels, CLASSES, "0" * 64), device)
    backbone = {"type": "dit", "patch": 2, "depth": depth, "width": width, "heads": 2}
    candidate = compose({"backbone": backbone, "clip": "global_norm", "batch": batch}, catalog())
    made = [Learner(candidate, InputSpec(SHAPE, CLASSES), images, seed, device, None) for seed in range(count)]
    for learner in made:
        learner.network.train()
    return made


def seconds(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds of a piece of work, by the clock on the wall and of the process."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def difference(one: list[Learner], other: list[Learner]) -> float:
    """The largest difference of weights, over the largest weight."""
    pairs = [
        (a.detach(), b.detach())
        for packed, alone in zip(one, other, strict=True)
        for a, b in zip(packed.network.parameters(), alone.network.parameters(), strict=True)
    ]
    return max(float((a - b).abs().max()) for a, b in pairs) / max(float(b.abs().max()) for _, b in pairs)


def main() -> int:
    parser = bench.options(__doc__, rounds=9)
    parser.add_argument("--members", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, help="of each way; torch's own choice by default")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    with freed_memory_kept(device):
        measure(asked, device)
    return 0


def measure(asked: argparse.Namespace, device: torch.device) -> None:
    rows = []
    for count in asked.members:
        alone = learners(count, asked.depth, asked.width, asked.batch, device)
        packed, apart = (learners(count, asked.depth, asked.width, asked.batch, device) for _ in range(2))
        pack, unstacked = Pack(packed), Pack(apart, stacked=False)
        works: dict[str, Callable[[], object]] = {
            "separate": lambda alone=alone: [learner.step(HORIZON) for learner in alone],
            "packed": lambda pack=pack, count=count: pack.step([(HORIZON, ())] * count),
            "packed, own optimizers": lambda pack=unstacked, count=count: pack.step([(HORIZON, ())] * count),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for number in range(asked.rounds + 1):
            for name in list(works) if number % 2 else list(works)[::-1]:
                measured = seconds(works[name], device)
                if number:  # the first is for what is done once
                    taken[name].append(measured)
        away = {"separate": 0.0, "packed": difference(packed, alone)}
        away["packed, own optimizers"] = difference(apart, alone)
        for name in works:
            wall, cpu = zip(*taken[name], strict=True)
            ratios = [
                statistics.median(
                    one[at] / other[at] for one, other in zip(taken[name], taken["separate"], strict=True)
                )
                for at in (0, 1)
            ]
            row = {
                "members": count,
                "way": name,
                "threads": torch.get_num_threads(),
                "wall_seconds": f"{statistics.median(wall):.4f}",
                "cpu_seconds": f"{statistics.median(cpu):.4f}",
                "wall_ratio": f"{ratios[0]:.3f}",
                "cpu_ratio": f"{ratios[1]:.3f}",
                "difference": f"{away[name]:.1e}",
                "depth": asked.depth,
                "width": asked.width,
                "batch": asked.batch,
                "rounds": asked.rounds,
                "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
                "torch": torch.__version__.partition("+")[0],
            }
            rows.append(row)
            bench.show(row, SHOWN)
            bench.keep(rows, COLUMNS, asked.csv)


if __name__ == "__main__":
    sys.exit(main())
