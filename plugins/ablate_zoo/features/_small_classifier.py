"""A small convolutional classifier of images, and its training: a few seconds for a few thousand images."""

from __future__ import annotations

import math
from collections.abc import Callable, Set

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 8  # channels a normalisation group
STAGES = 3  # full size, half, a quarter
BATCH = 64
_RATE = 3e-3  # peak learning rate, after a tenth of the steps


class SmallClassifier(nn.Module):
    """(B, 3, side, side) in [-1, 1] -> the heads that are asked for.

    Three stages of two 3×3 convolutions, each half the size and twice the width of the one before.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        stages, channels = [], 3
        for i in range(STAGES):
            stages += [*_layer(channels, width << i, 1 if i == 0 else 2), *_layer(width << i, width << i, 1)]
            channels = width << i
        self.stages = nn.Sequential(*stages)
        self.last = nn.Linear(channels, classes)

    def forward(self, x: Tensor, heads: Set[str]) -> dict[str, Tensor]:
        """`maps` (B, 4·width, side/4, side/4), the last stage; `pooled`, their mean; `logits` (B, classes)."""
        maps = self.stages(x)
        pooled = maps.mean((2, 3))
        outputs = {"pooled": pooled, "maps": maps}
        if "logits" in heads:
            outputs["logits"] = self.last(pooled)
        return {head: outputs[head] for head in heads}


def prepare(images: Tensor, side: int) -> Tensor:
    """uint8 (B, C, H, W), grey or RGB -> fp32 (B, 3, side, side) in [-1, 1]; bilinear, antialiased to shrink."""
    x = images.to(torch.float32)
    if x.shape[-2:] != (side, side):
        shrinks = max(x.shape[-2:]) > side
        x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=shrinks)
    return (x / 127.5 - 1).expand(-1, 3, -1, -1)


def train(
    images: Tensor,
    labels: Tensor,
    classes: int,
    width: int,
    side: int,
    steps: int,
    device: torch.device,
    pause: Callable[[], None],
) -> SmallClassifier:
    """Train a classifier of images uint8 (N, C, H, W) with labels (N,), by AdamW on the cross-entropy.

    What it draws follows from no global state, and changes none. `pause` is called before each step.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SmallClassifier(classes, width).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.05)
    with torch.inference_mode(False), torch.enable_grad():
        for step in range(steps):
            pause()
            share = step / steps
            rate = share * 10 if share < 0.1 else (1 + math.cos(math.pi * (share - 0.1) / 0.9)) / 2
            for group in optimizer.param_groups:
                group["lr"] = _RATE * rate
            chosen = torch.randint(len(images), (BATCH,), generator=generator)
            x = prepare(images[chosen].to(device), side)
            loss = F.cross_entropy(network(x, {"logits"})["logits"], labels[chosen].to(device), label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.requires_grad_(False).eval()


def _layer(channels: int, out: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
    return convolution, nn.GroupNorm(out // GROUP, out), nn.ReLU()
