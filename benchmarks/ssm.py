"""A training step of a DiT whose tokens are mixed by state-space models, against attention, over the number of tokens.

    python benchmarks/ssm.py [--rounds 5] [--threads 2] [--batch 4] [--sides 8,16,32,48] [--clock cpu]
                             [--csv benchmarks/ssm.csv] [--figure docs/pictures/ssm.png]

Depth 2, width 192, heads 3, patch 1 on 4×side×side, adaLN-Zero with classes, fp32. A step is forward, mean squared
error, backward and AdamW. In each round every mixer takes a step, one right after the other, in turns first; the ratio
is the median over the rounds of its time to that of softmax attention at as many tokens. `slope` is that of log time
over log tokens from the row of fewer tokens: 1 is linear, 2 quadratic. `--clock cpu` counts the process's own seconds,
for a machine that is not quiet. Exit code 1 where `ssm` takes more than 1.5 times as long as softmax at 1,024 tokens.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import bench
import torch
from torch.nn import functional as F

from ablate.candidates.candidate import compose, cost_of
from ablate.discovery.catalog import catalog
from ablate.spec.component import InputSpec
from ablate.training.training_cost import train_gflops

DIT = {"type": "dit", "patch": 1, "depth": 2, "width": 192, "heads": 3}
MIXERS = ("softmax", "linear", "ssm", "s4d", "mamba")
LIMIT, AT = 1.5, 1024
COLUMNS = (
    *("mixer", "device", "threads", "clock", "batch", "tokens", "params", "gflops", "train_gflops", "seconds", "ratio"),
    *("slope", "rounds", "torch"),
)


def stepper(mixer: str, side: int, batch: int, device: str) -> tuple[Callable[[], None], float, float, int]:
    """A training step on random images; Gflops of a forward pass, of a step for an image, and parameters."""
    torch.manual_seed(0)
    setting = InputSpec((4, side, side), 1000)
    candidate = compose({"backbone": {**DIT, "attention": mixer}}, catalog())
    network = candidate.backbone.build(setting).train().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    x, target = (torch.randn(batch, *setting.shape, device=device) for _ in range(2))
    noise, labels = torch.rand(batch, device=device) * 999, torch.arange(batch, device=device)

    def step() -> None:
        optimizer.zero_grad()
        F.mse_loss(network(x, noise, labels), target).backward()
        optimizer.step()

    cost = cost_of(candidate.backbone, setting)
    return step, cost.gflops, train_gflops(candidate, setting), cost.params


def draw(rows: list[dict[str, object]], file: Path) -> None:
    """Seconds of a step over tokens, a line a mixer."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    for mixer in MIXERS:
        mine = [row for row in rows if row["mixer"] == mixer]
        axes.plot([row["tokens"] for row in mine], [float(str(row["seconds"])) for row in mine], "o-", label=mixer)
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="seconds a training step")
    axes.set_xticks(sorted({int(str(row["tokens"])) for row in rows}), minor=False)
    axes.get_xaxis().set_major_formatter(matplotlib.ticker.ScalarFormatter())
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


def main() -> int:
    parser = bench.options(__doc__, rounds=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--sides", default="8,16,32,48")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    watch = bench.Stopwatch(given.device, given.clock)
    times: dict[int, dict[str, float]] = {}
    rows: list[dict[str, object]] = []
    for side in map(int, given.sides.split(",")):
        made = {mixer: stepper(mixer, side, given.batch, given.device) for mixer in MIXERS}
        steps = {mixer: step for mixer, (step, *_) in made.items()}
        watch.turn(steps, 0)  # picks kernels, fills caches
        turns = [watch.turn(steps, number) for number in range(given.rounds)]
        times[side * side] = {mixer: statistics.median(turn[mixer] for turn in turns) for mixer in MIXERS}
        shorter = max((tokens for tokens in times if tokens < side * side), default=None)
        for mixer in MIXERS:
            now, slope = times[side * side][mixer], ""
            if shorter is not None:
                slope = f"{math.log(now / times[shorter][mixer]) / math.log(side * side / shorter):.2f}"
            ratio = statistics.median(turn[mixer] / turn["softmax"] for turn in turns)
            _, gflops, training, params = made[mixer]
            about = (mixer, given.device, given.threads, given.clock, given.batch, side * side, params)
            taken = (f"{gflops:.3f}", f"{training:.3f}", f"{now:.3f}", f"{ratio:.3f}", slope, given.rounds)
            rows.append(dict(zip(COLUMNS, (*about, *taken, torch.__version__.partition("+")[0]), strict=True)))
            bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, given.csv)
    if given.figure is not None:
        draw(rows, given.figure)
    at = {str(r["mixer"]): float(str(r["ratio"])) for r in rows if r["tokens"] == AT and r["mixer"] == "ssm"}
    return bench.at_most(LIMIT, at)


if __name__ == "__main__":
    sys.exit(main())
