"""EfficientNet-Lite0 as a fixed feature extractor: batch normalisation is folded into the convolutions.

EfficientNet (Tan & Le 2019) without squeeze-and-excitation and with ReLU6, in TensorFlow's padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BN_EPS = 1e-3
# Each stage: expansion, channels, repeats, stride of the first block, kernel.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_STEM, _FEATURES = 32, 1280


class SameConv(nn.Conv2d):
    """A convolution that gives ceil(input / stride) pixels: what is odd of the padding goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, padding=kernel // 2, groups=self.groups)
        h, w = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        x = F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2))
        return F.conv2d(x, self.weight, self.bias, stride=stride, groups=self.groups)


class InvertedResidual(nn.Module):
    """1×1 expansion, depthwise convolution, linear 1×1 projection (Sandler et al. 2018), a skip where shapes allow."""

    def __init__(self, channels: int, out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = SameConv(channels, inner, 1) if expansion > 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride, groups=inner)
        self.project = SameConv(inner, out, 1)
        self.skip = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return y.add_(x) if self.skip else y


class EfficientNetLite0(nn.Module):
    """(B, 3, H, W) in (x − 127)/128 -> (B, 1280), the pooled activations before the classifier. Inference only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM, 3, 2)
        blocks, channels = [], _STEM
        for expansion, out, repeats, stride, kernel in _STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(channels, out, expansion, kernel, stride if i == 0 else 1))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(channels, _FEATURES, 1)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Features of images that are at least 1×1."""
        return self.maps(x).mean((2, 3))

    def maps(self, x: Tensor) -> Tensor:
        """The same before they are pooled, (B, 1280, ⌈H/32⌉, ⌈W/32⌉)."""
        x = F.relu6(self.stem(x), inplace=True)
        return F.relu6(self.head(self.blocks(x)), inplace=True)

    def load_checkpoint(self, checkpoint: Mapping[str, Tensor]) -> None:
        """Take the weights of any port of this network: convolutions with their normalisation, in forward order.

        The names do not matter, and what follows the last convolution (the classifier) is not read.
        """
        convolutions = [m for m in self.modules() if isinstance(m, SameConv)]
        for conv, (weight, bias) in zip(convolutions, _folded(checkpoint), strict=True):
            conv.weight.copy_(weight)
            assert conv.bias is not None
            conv.bias.copy_(bias)


def _folded(checkpoint: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Fold each batch norm into its convolution: γ·(W∗x − μ)/√(v + ε) + β is one too. Yields weight and bias."""
    tensors = [tensor.double() for tensor in checkpoint.values() if tensor.ndim in (1, 4)]
    for i, weight in enumerate(tensors):
        if weight.ndim == 4:
            gamma, beta, mean, variance = tensors[i + 1 : i + 5]
            scale = gamma / torch.sqrt(variance + _BN_EPS)
            yield weight * scale.reshape(-1, 1, 1, 1), beta - mean * scale
