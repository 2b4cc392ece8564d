"""The U-Net of diffusion models (Ho et al. 2020, "Denoising Diffusion Probabilistic Models", appendix B)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Context
from ablate_zoo.modules.embedding import ClassEmbedding, LevelEmbedding


class Cell(nn.Module):
    """One step: fuse with a skip (or not), a block or a change of size, self-attention (or not)."""

    def __init__(self, body: nn.Module, attention: nn.Module | None = None, fusion: nn.Module | None = None) -> None:
        super().__init__()
        self.fusion = fusion
        self.body = body
        self.attention = attention

    def forward(self, x: Tensor, context: Context, skips: list[Tensor]) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'); takes the last of the skips where it fuses one."""
        if self.fusion is not None:
            x = self.fusion(x, skips.pop(), context)
        x = self.body(x, context)
        return x if self.attention is None else self.attention(x)


class Condition(nn.Module):
    """Noise label and class label as one context: the label's embedding is added to the noise level's."""

    def __init__(self, width: int, embedding: int, classes: int | None) -> None:
        super().__init__()
        self.level = LevelEmbedding(embedding, size=width + width % 2)  # as many cosines as sines
        self.label = None if classes is None else ClassEmbedding(classes, embedding)
        for layer in (self.level.first, self.level.second, self.label):  # as in ADM, not as in DiT
            if layer is not None:
                layer.reset_parameters()

    def forward(self, noise: Tensor, labels: Tensor | None) -> Context:
        """(B,), (B,) -> vectors (B, E), and both as tokens (B, 2, E); (B, 1, E) without labels."""
        level = self.level(noise)
        if self.label is None or labels is None:
            return Context(level, level[:, None], noise)
        label = self.label(labels).to(level.dtype)
        return Context(level + label, torch.stack([level, label], dim=1), noise)


class UNet(nn.Module):
    """A convolution; an encoder, whose every output is a skip; a middle; a decoder that fuses the skips; a convolution.

    channels: (of the image, after the first convolution, before the last, of the prediction).
    low_resolution: the image joined by another of its shape, a small one that was enlarged (ADM's upsampler).
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        condition: nn.Module,
        encoder: Sequence[nn.Module],
        middle: Sequence[nn.Module],
        decoder: Sequence[nn.Module],
        norm: nn.Module,
        low_resolution: bool = False,
    ) -> None:
        super().__init__()
        image, first, last, prediction = channels
        self.low_resolution = low_resolution
        self.condition = condition
        self.stem = nn.Conv2d(2 * image if low_resolution else image, first, 3, padding=1)
        self.encoder = nn.ModuleList(encoder)
        self.middle = nn.ModuleList(middle)
        self.decoder = nn.ModuleList(decoder)
        self.norm = norm
        self.head = nn.Conv2d(last, prediction, 3, padding=1)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None, low: Tensor | None = None) -> Tensor:
        """Image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, prediction, H, W).

        low: (B, C, H, W) with `low_resolution`; None: an empty image in its place.
        """
        context = self.condition(noise, labels)
        if self.low_resolution:
            x = torch.cat([x, torch.zeros_like(x) if low is None else low], dim=1)
        if x.device.type == "cpu":
            # Convolutions are faster so, and the places of a map are tokens without a copy. Elsewhere group norm
            # gives its output in torch's own order, whatever it was given: there, each norm would cost a copy.
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        skips = [x]
        for cell in self.encoder:
            x = cell(x, context, skips)
            skips.append(x)
        for cell in (*self.middle, *self.decoder):
            x = cell(x, context, skips)
        return self.head(F.silu(self.norm(x))).contiguous()
