"""A training step of DiT-S/2 with routing, against all tokens through all blocks.

    python benchmarks/routing.py [--rounds 5] [--threads 1] [--batch 4] [--clock cpu] [--csv benchmarks/routing.csv]

Depth 12, width 384, heads 6, patch 2 on 4×32×32 (256 tokens), adaLN-Zero with classes, fp32. A step is forward, mean
squared error, backward and AdamW. In each round every candidate takes a step, one right after the other, in turns
first; the figure is the median over the rounds of the ratio of its time to that of `none`. `--clock cpu` counts the
process's own seconds, for a machine that is not quiet. `train_gflops` are those of a step for an image, counted.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import bench
import torch
from torch.nn import functional as F

from ablate.candidates.candidate import Candidate, compose
from ablate.discovery.catalog import catalog
from ablate.spec.component import InputSpec
from ablate.training.training_cost import train_gflops

SETTING = InputSpec((4, 32, 32), 1000)
DIT = {"type": "dit", "patch": 2, "depth": 12, "width": 384, "heads": 6}
ROUTINGS = {
    "none": "none",
    "drop": {"type": "drop", "share": 0.5},  # 2 blocks at both ends see all
    "drop_as_in_tread": {"type": "drop", "share": 0.5, "before": 2, "after": 4},
    "mask": {"type": "mask", "share": 0.5},
    "merge": {"type": "merge", "share": 0.5},
}
COLUMNS = (
    *("routing", "device", "threads", "clock", "batch", "train_gflops", "gflops_ratio", "seconds", "time_ratio"),
    *("rounds", "torch"),
)


def stepper(candidate: Candidate, batch: int, device: str) -> Callable[[], None]:
    """A training step of one candidate on random images."""
    torch.manual_seed(0)
    network = candidate.backbone.build(SETTING).train().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    x, target = (torch.randn(batch, *SETTING.shape, device=device) for _ in range(2))
    noise, labels = torch.rand(batch, device=device) * 999, torch.arange(batch, device=device)

    def step() -> None:
        optimizer.zero_grad()
        F.mse_loss(network(x, noise, labels), target).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = bench.options(__doc__, rounds=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    watch = bench.Stopwatch(given.device, given.clock)
    candidates = {name: compose({"backbone": {**DIT, "routing": one}}, catalog()) for name, one in ROUTINGS.items()}
    gflops = {name: train_gflops(candidate, SETTING) for name, candidate in candidates.items()}
    steps = {name: stepper(candidate, given.batch, given.device) for name, candidate in candidates.items()}
    watch.turn(steps, 0)  # picks kernels, fills caches
    turns = [watch.turn(steps, number) for number in range(given.rounds)]
    rows = []
    for name in steps:
        ratio = statistics.median(turn[name] / turn["none"] for turn in turns)
        about = (name, given.device, given.threads, given.clock, given.batch)
        counted = (f"{gflops[name]:.2f}", f"{gflops[name] / gflops['none']:.3f}")
        taken = (f"{statistics.median(turn[name] for turn in turns):.3f}", f"{ratio:.3f}", given.rounds)
        rows.append(dict(zip(COLUMNS, (*about, *counted, *taken, torch.__version__.partition("+")[0]), strict=True)))
        bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, given.csv, add=True)


if __name__ == "__main__":
    main()
