"""A training step of the U-Net beside diffusers' UNet2DModel: images a second at equal multiply-accumulates.

    python benchmarks/unet_step.py [--csv FILE] [--device cuda] [--clock cpu] [--threads 2] [--limit 1.3]

Both are composed alike: same widths, blocks and attention, so the same parameters and the same macs, both of which
are checked, and both take the same AdamW step on the same batch in fp32. Each round times one step of the one and
one of the other, in turns first; the figure is the median over the rounds of the ratio of the two times. Where the
row says so the peer has its own default of 8 channels a head, and ours one head, as in DDPM; macs are still equal.
Ends with 1 where a row that says so is below --limit. `--clock cpu` counts the process's own seconds, for a machine
that is not quiet.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bench
import torch
from torch import Tensor, nn

from ablate.candidates.candidate import cost_of
from ablate.discovery.catalog import catalog
from ablate.spec.component import InputSpec

SETTING = InputSpec((3, 32, 32), None)
COLUMNS = ("network", "heads", "params", "macs", "device", "threads", "batch", "clock", "ours_ms", "peer_ms")
COLUMNS += ("ours_images_s", "peer_images_s", "ratio", "rounds")


@dataclass(frozen=True)
class Shape:
    """A network that both can be."""

    name: str
    width: int
    multipliers: tuple[int, ...]
    blocks: int
    peer_head: int | None  # channels a head of the peer; None: one head, as ours

    @property
    def attends(self) -> list[bool]:
        """At 16×16, as DDPM."""
        return [32 >> level == 16 for level in range(len(self.multipliers))]


SHAPES = (
    Shape("ddpm", 32, (1, 2, 2, 2), 2, 8),
    Shape("ddpm", 32, (1, 2, 2, 2), 2, None),
    Shape("ddpm", 40, (1, 2, 2), 1, 8),
    Shape("ddpm", 40, (1, 2, 2), 1, None),
)


def ours(shape: Shape) -> Any:
    """The component."""
    spec = {"width": shape.width, "multipliers": shape.multipliers, "blocks": shape.blocks, "groups": 8, "heads": 1}
    fusion = {"type": "concat", "project": False}
    return catalog().create("backbone", {"type": "unet", **spec, "conditioning": "additive", "fusion": fusion})


def peer(shape: Shape) -> nn.Module:
    """The same network as diffusers' UNet2DModel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import UNet2DModel
    kinds = ["Attn" if attends else "" for attends in shape.attends]
    return UNet2DModel(
        sample_size=32,
        block_out_channels=[shape.width * m for m in shape.multipliers],
        down_block_types=[f"{kind}DownBlock2D" for kind in kinds],
        up_block_types=[f"{kind}UpBlock2D" for kind in reversed(kinds)],
        layers_per_block=shape.blocks,
        norm_num_groups=8,
        attention_head_dim=shape.peer_head or shape.width * max(shape.multipliers),
    )


def step(network: nn.Module, predict: Callable[[Tensor, Tensor], Tensor], batch: int) -> Callable[[], None]:
    """One training step."""
    device = next(network.parameters()).device
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    x, noise = torch.randn(batch, *SETTING.shape, device=device), torch.rand(batch, device=device) * 999
    wanted = torch.randn_like(x)

    def run() -> None:
        optimizer.zero_grad()
        (predict(x, noise) - wanted).square().mean().backward()
        optimizer.step()

    return run


def measure(shape: Shape, asked: argparse.Namespace) -> dict[str, Any]:
    """One row."""
    torch.manual_seed(0)
    cost = cost_of(ours(shape), SETTING)
    with torch.device(asked.device):
        mine, theirs = ours(shape).build(SETTING), peer(shape)
    assert cost.params == sum(p.numel() for p in theirs.parameters())
    assert cost.macs == macs(peer, shape)
    steps = {
        "ours": step(mine, lambda x, noise: mine(x, noise, None), asked.batch),
        "peer": step(theirs, lambda x, noise: theirs(x, noise).sample, asked.batch),
    }
    watch = bench.Stopwatch(asked.device, asked.clock)
    for number in (0, 1):  # picks kernels, fills caches
        watch.turn(steps, number)
    turns = [watch.turn(steps, number) for number in range(asked.rounds)]
    mine_s, theirs_s = (statistics.median(turn[name] for turn in turns) for name in steps)
    return {
        "network": f"{shape.name} {shape.width}x{list(shape.multipliers)} blocks {shape.blocks}".replace(",", ""),
        "heads": "alike" if shape.peer_head is None else "peer's default",
        "params": cost.params,
        "macs": cost.macs,
        "device": asked.device,
        "threads": torch.get_num_threads(),
        "batch": asked.batch,
        "clock": asked.clock,
        "ours_ms": round(1e3 * mine_s, 1),
        "peer_ms": round(1e3 * theirs_s, 1),
        "ours_images_s": round(asked.batch / mine_s, 1),
        "peer_images_s": round(asked.batch / theirs_s, 1),
        "ratio": round(statistics.median(turn["peer"] / turn["ours"] for turn in turns), 3),
        "rounds": asked.rounds,
    }


def macs(make: Callable[[Shape], nn.Module], shape: Shape) -> int:
    """Multiply-accumulates of the peer, counted as ours are."""
    from ablate.candidates.flops import measure as count

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = make(shape)

        def forward(self, x: Tensor, noise: Tensor, labels: None) -> Tensor:
            return self.network(x, noise).sample

    with torch.device("meta"):
        return count(Called(), SETTING).macs


def main() -> int:
    options = bench.options(__doc__, rounds=10)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--limit", type=float, default=1.3, help="the least that a ratio may be")
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    rows = []
    for shape in SHAPES:
        rows.append(measure(shape, asked))
        bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, asked.csv)
    return bench.at_least(asked.limit, {f"{row['network']}, heads {row['heads']}": row["ratio"] for row in rows})


if __name__ == "__main__":
    sys.exit(main())
