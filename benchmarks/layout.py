"""Convolutions in another order of memory: a U-Net's training step with `layout: channels_last` beside `contiguous`.

    python benchmarks/layout.py [--csv FILE] [--device cuda] [--clock cpu] [--threads 1]

Each round times one step of the one and one of the other, in turns first; `ratio` is the median over the rounds of the
time of `contiguous` over that of `channels_last`: above 1 the latter is faster.
"""

from __future__ import annotations

import statistics
import sys

import bench
import torch

from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.kinds.data import Dataset
from ablate.spec.component import InputSpec
from ablate.training.learner import Images, Learner

COLUMNS = ("network", "precision", "batch", "device", "threads", "clock", "contiguous_ms", "channels_last_ms", "ratio")
COLUMNS += ("rounds", "torch")
NETWORKS = {
    "unet 32 at 32×32": ((3, 32, 32), {"type": "unet", "width": 32}),
    "unet 64 at 16×16": ((3, 16, 16), {"type": "unet", "width": 64}),
    "dit 6×192 at 16×16": ((4, 16, 16), {"type": "dit", "patch": 2, "depth": 6, "width": 192, "heads": 3}),
}
LAYOUTS = ("contiguous", "channels_last")


def learner(name: str, layout: str, batch: int, precision: str, device: torch.device) -> Learner:
    """A learner on made-up images."""
    shape, backbone = NETWORKS[name]
    pixels = torch.randint(0, 256, (2 * batch, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = Dataset(pixels.numpy(), None, pixels.numpy(), None, None, "0" * 64)
    spec = {"backbone": backbone, "layout": layout, "batch": batch, "precision": precision}
    made = Learner(compose(spec, catalog()), InputSpec(shape, None), Images(data, device), 0, device, None)
    made.network.train()
    return made


def main() -> int:
    parser = bench.options(__doc__, rounds=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precisions", nargs="+", default=["fp32"])
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    rows = []
    for name in NETWORKS:
        for precision in asked.precisions:
            made = {layout: learner(name, layout, asked.batch, precision, device) for layout in LAYOUTS}
            steps = {layout: (lambda one=one: one.step(1e9)) for layout, one in made.items()}
            watch = bench.Stopwatch(device, asked.clock)
            for number in (0, 1):
                watch.turn(steps, number)
            turns = [watch.turn(steps, number) for number in range(asked.rounds)]
            seconds = {layout: statistics.median(turn[layout] for turn in turns) for layout in LAYOUTS}
            ratio = statistics.median(turn["contiguous"] / turn["channels_last"] for turn in turns)
            own = {"network": name, "precision": precision, "batch": asked.batch, "device": asked.device}
            own |= {f"{layout}_ms": f"{1000 * value:.1f}" for layout, value in seconds.items()}
            own |= {"threads": asked.threads, "clock": asked.clock, "ratio": f"{ratio:.3f}", "rounds": asked.rounds}
            rows.append({**own, "torch": torch.__version__.partition("+")[0]})
            bench.show(rows[-1], COLUMNS[:-1])
            bench.keep(rows, COLUMNS, asked.csv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
