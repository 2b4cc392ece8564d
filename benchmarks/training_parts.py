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

import statistics
import sys
from collections.abc import Callable
from typing import Any

import bench
import torch

from ablate.api import Ema, InputSpec
from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog

SETTING = InputSpec((4, 32, 32), 1000)
DIT_S_2 = {"type": "dit", "patch": 2, "depth": 12, "width": 384, "heads": 6}
COLUMNS = ("kind", "part", "device", "threads", "params", "batch", "step_ms", "part_ms", "ratio", "rounds", "torch")


class Work:
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
    options = bench.options(__doc__, rounds=7)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--limit", type=float, default=1.05, help="the most that a ratio may be")
    asked = options.parse_args()

    device = torch.device(asked.device)
    watch, work = bench.Stopwatch(device, asked.clock), Work(asked.batch, device)
    work.step()
    watch.turn(work.parts, 0)  # warms up
    steps: list[float] = []
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in work.parts}
    for number in range(asked.rounds):
        steps.append(watch(work.step))
        for key, seconds in watch.turn(work.parts, number).items():
            taken[key].append(seconds)
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
                "params": sum(p.numel() for p in work.named.values()),
                "batch": asked.batch,
                "step_ms": round(1e3 * statistics.median(steps), 2),
                "part_ms": round(1e3 * statistics.median(times), 3),
                "ratio": round(statistics.median(1 + a / b for a, b in zip(times, steps, strict=True)), 4),
                "rounds": asked.rounds,
                "torch": torch.__version__,
            }
        )
        bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, asked.csv)
    return bench.at_most(asked.limit, {row["part"]: row["ratio"] for row in rows})


if __name__ == "__main__":
    sys.exit(main())
