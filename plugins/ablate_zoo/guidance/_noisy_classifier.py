"""The noisy classifier of classifier guidance: a small convolutional network that sees the noise level too."""

from __future__ import annotations

from torch import Tensor, nn

from ablate_zoo.layers.fourier import RandomFourier

SMALLEST = 4  # pixels a side, below which nothing is halved any more
GROUP = 8  # channels a normalisation group


class NoisyClassifier(nn.Module):
    """Noisy classifier: residual stages from full size down to about 4 pixels a side, half the size each time.

    Every block is modulated by the noise label; the logits are read from the mean over the last
    stage. It stands for the half U-Net of Dhariwal & Nichol 2021, sec. 4, at a small size.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        channels, height, side = shape
        self.noise = nn.Sequential(RandomFourier(64), nn.Linear(64, width), nn.SiLU())
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        stages = [_Block(width, width, width)]
        size = min(height, side)
        while size // 2 >= SMALLEST:
            before, size = stages[-1].outputs, size // 2
            stages.append(_Block(before, min(2 * before, 4 * width), width, halve=True))
        self.stages = nn.ModuleList(stages)
        self.norm = nn.GroupNorm(stages[-1].outputs // GROUP, stages[-1].outputs)
        self.last = nn.Linear(stages[-1].outputs, classes)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """(B, C, H, W) at unit variance and (B,) -> logits (B, classes)."""
        level = self.noise(noise)
        h = self.first(x)
        for stage in self.stages:
            h = stage(h, level)
        return self.last(nn.functional.silu(self.norm(h)).mean((2, 3)))


class _Block(nn.Module):
    """Residual block with adaptive group norm: h + conv(silu(mod(norm(conv(silu(norm(h))))))).

    halve: at half the size.
    """

    def __init__(self, width: int, outputs: int, embedding: int, halve: bool = False) -> None:
        super().__init__()
        self.outputs = outputs
        self.halve = nn.AvgPool2d(2) if halve else nn.Identity()
        self.first_norm = nn.GroupNorm(width // GROUP, width)
        self.first = nn.Conv2d(width, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.second_norm = nn.GroupNorm(outputs // GROUP, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if width == outputs else nn.Conv2d(width, outputs, 1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        """(B, width, H, W), (B, E) -> (B, outputs, H, W) or half of H and W."""
        silu = nn.functional.silu
        h = self.halve(h)
        scale, shift = self.modulation(level)[:, :, None, None].chunk(2, dim=1)  # (B, outputs, 1, 1)
        inner = self.second_norm(self.first(silu(self.first_norm(h)))) * (1 + scale) + shift
        out: Tensor = self.skip(h) + self.second(silu(inner))
        return out
