"""What clipping and averaging cost of a training step: each part beside the bare step of a 33 M-parameter DiT-S/2.

    python benchmarks/training_parts.py [--csv FILE] [--device cuda] [--batch 16] [--limit 1.05] [--clock cpu]

Each round takes one step (forward, backward, AdamW) on latents of 4×32×32, and applies every clip and
every average of the catalog once to the gradients and weights of that step, in an order that turns
from round to round. The figure is the median over the rounds of (step + part) / step, parts and step
of the same round; `together` is the dearest clip with the dearest average. The bare step has no clip
and no average, so `none` shows what looking at the norm costs. Ends with 1 where a ratio is above
--limit. `--clock cpu` counts the process's own seconds, for a machine that is not quiet.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ablate.api import Ema, Setting
from ablate.candidate import compose
from ablate.registry import catalog

SETTING = Setting((4, 32, 32), 1000)
DIT_S_2 = {"type": "dit", "patch": 2, "depth": 12, "width": 384, "heads": 6}
COLUMNS = ("kind", "part", "device", "threads", "params", "batch", "step_ms", "part_ms", "ratio", "rounds", "torch")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(work: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - begun


class Bench:
    """One network, its optimizer, and every part at work on it."""

    def __init__(self, batch: int, device: torch.device) -> None:
        known = catalog()
        self.candidate = compose({"backbone": DIT_S_2}, known)
        torch.manual_seed(0)
        with device:
            self.network = self.candidate.backbone.build(SETTING)
            self.inputs = (torch.randn(batch, *SETTING.shape), torch.rand(batch) * 999, torch.arange(batch))
        self.named = dict(self.network.named_parameters())
        self.optimizer = self.candidate.optimizer.build(self.named.values())
        self.batch, self.images = batch, 0
        self.parts: dict[tuple[str, str], Callable[[], object]] = {}
        for name in known.names("clip"):
            clip = known.create("clip", name)
            self.parts["clip", name] = lambda clip=clip: clip.apply(self.named)
        for name in known.names("ema"):
            ema = known.create("ema", name)
            assert isinstance(ema, Ema)
            average = ema.build(self.named)
            self.parts["ema", name] = lambda average=average: average.update(self.images, self.batch)

    def step(self) -> None:
        """The bare step, whose gradients stay."""
        self.optimizer.zero_grad(set_to_none=True)
        self.network(*self.inputs).square().mean().backward()
        self.optimizer.step()
        self.images += self.batch


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--csv", type=Path, help="write the rows here")
    options.add_argument("--device", default="cpu")
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--limit", type=float, default=1.05, help="the most that a ratio may be")
    options.add_argument("--clock", choices=CLOCKS, default="wall")
    asked = options.parse_args()

    device, clock = torch.device(asked.device), CLOCKS[asked.clock]
    bench = Bench(asked.batch, device)
    bench.step()
    for part in bench.parts.values():
        part()  # warm
    steps: list[float] = []
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in bench.parts}
    for i in range(asked.rounds):
        steps.append(seconds(bench.step, device, clock))
        keys = list(bench.parts)
        for key in keys[i % len(keys) :] + keys[: i % len(keys)]:
            taken[key].append(seconds(bench.parts[key], device, clock))
    dearest = [
        max((key for key in taken if key[0] == kind), key=lambda key: statistics.median(taken[key]))
        for kind in ("clip", "ema")
    ]
    both = [a + b for a, b in zip(*(taken[key] for key in dearest), strict=True)]
    taken["together", " and ".join(name for _, name in dearest)] = both
    rows: list[dict[str, Any]] = []
    for (kind, name), times in taken.items():
        rows.append(
            {
                "kind": kind,
                "part": name,
                "device": device.type,
                "threads": torch.get_num_threads(),
                "params": sum(p.numel() for p in bench.named.values()),
                "batch": asked.batch,
                "step_ms": round(1e3 * statistics.median(steps), 2),
                "part_ms": round(1e3 * statistics.median(times), 3),
                "ratio": round(statistics.median(1 + a / b for a, b in zip(times, steps, strict=True)), 4),
                "rounds": asked.rounds,
                "torch": torch.__version__,
            }
        )
        print("  ".join(f"{column} {rows[-1][column]}" for column in COLUMNS), flush=True)
    if asked.csv is not None:
        with asked.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    dear = [f"{row['part']}: {row['ratio']}" for row in rows if row["ratio"] > asked.limit]
    print(f"above {asked.limit}: {', '.join(dear)}" if dear else f"every ratio is at most {asked.limit}")
    return 1 if dear else 0


if __name__ == "__main__":
    sys.exit(main())
