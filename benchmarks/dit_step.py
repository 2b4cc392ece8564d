"""A training step of a small DiT: ours, diffusers' DiTTransformer2DModel, and a plain one as one would write it.

    python benchmarks/dit_step.py [--rounds 20] [--threads 2] [--clock wall] [--csv benchmarks/dit_step.csv]

Depth 6, width 192, heads 3, patch 2 on 4×16×16, adaLN-Zero with classes, batch 64, fp32, on the CPU. A step
is forward, mean squared error, backward, AdamW (torch's fused kernel for all three) and zero_grad. In each
round the three take a step each, one right after the other, in turns first; the figure is the median over
the rounds of the ratio of our images/s to those of the faster of the other two. `products` are the matrix products of
the blocks' linear layers alone, forward and backward, each on memory of its own: no implementation that calls the same
library for them is faster. `--clock cpu` counts the process's own seconds, for a machine that is not quiet. `--csv`
adds to a file. `--profile` tells where our time goes.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable

import bench
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ablate
from ablate.spec.component import InputSpec

DEPTH, WIDTH, HEADS, PATCH, CLASSES, BATCH = 6, 192, 3, 2, 1000, 64
SHAPE = (4, 16, 16)
COLUMNS = ("network", "device", "threads", "clock", "batch", "images_per_second", "ratio", "rounds", "torch")


class PlainBlock(nn.Module):
    """adaLN-Zero, attention by torch's fused kernel, GELU."""

    def __init__(self, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """(B, N, D), (B, D) -> (B, N, D)."""
        b, n, d = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c).unsqueeze(1).chunk(6, dim=-1)
        h = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.qkv(h).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        x = x + gate1 * self.out(h)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class Plain(nn.Module):
    """DiT as the paper describes it, without a thought of speed beyond torch's own kernels."""

    def __init__(
        self,
        depth: int = DEPTH,
        width: int = WIDTH,
        heads: int = HEADS,
        patch: int = PATCH,
        shape: tuple[int, int, int] = SHAPE,
    ) -> None:
        super().__init__()
        channels, side, _ = shape
        self.patch = patch
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(1, (side // patch) ** 2, width), requires_grad=False)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(CLASSES + 1, width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.head = nn.Linear(width, channels * patch**2)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        """(B, C, H, W), (B,), (B,) -> (B, C, H, W)."""
        b, c, height, width = x.shape
        patch = self.patch
        rates = torch.exp(torch.arange(128, device=x.device) * (-9.21 / 128))
        angles = noise[:, None] * rates
        e = self.time(torch.cat([angles.cos(), angles.sin()], dim=-1)) + self.label(labels)
        h = self.embed(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            h = block(h, e)
        shift, scale = self.modulation(e).unsqueeze(1).chunk(2, dim=-1)
        h = self.head(self.norm(h) * (1 + scale) + shift)
        h = h.view(b, height // patch, width // patch, patch, patch, c).permute(0, 5, 1, 3, 2, 4)
        return h.reshape(x.shape)


def theirs(
    depth: int = DEPTH,
    width: int = WIDTH,
    heads: int = HEADS,
    patch: int = PATCH,
    shape: tuple[int, int, int] = SHAPE,
) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' own imports warn
        from diffusers import DiTTransformer2DModel
    network = DiTTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=width // heads,
        in_channels=shape[0],
        out_channels=shape[0],
        num_layers=depth,
        sample_size=shape[1],
        patch_size=patch,
        num_embeds_ada_norm=CLASSES,
    )

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
            """(B, C, H, W), (B,), (B,) -> (B, C, H, W)."""
            output: Tensor = self.network(x, timestep=noise, class_labels=labels).sample
            return output

    return Called()


def ours() -> nn.Module:
    spec = {"type": "dit", "patch": PATCH, "depth": DEPTH, "width": WIDTH, "heads": HEADS}
    return ablate.create("backbone", spec).build(InputSpec(SHAPE, CLASSES))


def stepper(network: nn.Module) -> Callable[[], None]:
    network.train()
    with torch.no_grad():  # somewhere in training: a product with a zero may be cheaper
        for p in network.parameters():
            p.add_(0.02 * torch.randn_like(p))
    optimizer = torch.optim.AdamW((p for p in network.parameters() if p.requires_grad), lr=1e-4, fused=True)
    x, noise = torch.randn(BATCH, *SHAPE), torch.rand(BATCH) * 999
    wanted, labels = torch.randn(BATCH, *SHAPE), torch.randint(CLASSES, (BATCH,))

    def step() -> None:
        (network(x, noise, labels) - wanted).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def products() -> Callable[[], None]:
    """One step's worth: y = x·Wᵀ, dx = dy·W and dW = dyᵀ·x of every linear layer of every block."""
    tokens = BATCH * (SHAPE[1] // PATCH) * (SHAPE[2] // PATCH)
    layers = [(WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)] * DEPTH
    held = [(torch.randn(tokens, n), torch.randn(m, n), torch.randn(tokens, m)) for n, m in layers]

    def step() -> None:
        for x, w, y in held:
            torch.mm(x, w.t(), out=y)
        for x, w, dy in reversed(held):
            torch.mm(dy, w)
            torch.mm(dy.t(), x)

    return step


def main() -> None:
    parser = bench.options(__doc__, rounds=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    watch = bench.Stopwatch("cpu", given.clock)
    steps = {name: stepper(make()) for name, make in (("ours", ours), ("diffusers", theirs), ("plain", Plain))}
    steps["products"] = products()
    for number in (0, 1):  # picks kernels, fills caches
        watch.turn(steps, number)
    turns = [watch.turn(steps, number) for number in range(given.rounds)]
    rows = []
    for name in steps:
        ratio = statistics.median(min(turn["diffusers"], turn["plain"]) / turn[name] for turn in turns)
        speed = BATCH / statistics.median(turn[name] for turn in turns)
        about = (name, "cpu", given.threads, given.clock, BATCH, f"{speed:.1f}", f"{ratio:.3f}", given.rounds)
        rows.append(dict(zip(COLUMNS, (*about, torch.__version__.partition("+")[0]), strict=True)))
        print(f"{name:10} {speed:7.1f} images/s, {ratio:.3f} times the faster of diffusers and plain")
    bench.keep(rows, COLUMNS, given.csv, add=True)
    if given.profile:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            steps["ours"]()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=50))


if __name__ == "__main__":
    main()
