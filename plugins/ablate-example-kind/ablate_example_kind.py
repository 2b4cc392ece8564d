"""A kind of its own, `stem`, with two components of it, and the backbone `token_mixer`, which has a slot for one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ablate.api import Backbone, Choice, Component, InputSpec, Range, slot

api_version = 1  # of ablate's plugin API, for which this was written


class Stem(Component):
    """Cuts an image into tokens, and puts it together again: a change of basis without parameters.

    It is orthonormal, so that noise that is white in pixels is white in tokens.
    """

    kind: ClassVar[str] = "stem"

    @property
    @abstractmethod
    def stride(self) -> int:
        """Pixels of a side for one token; both sides of an image are multiples of it."""

    @abstractmethod
    def split(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D) with N = H·W / stride² and D = C·stride²."""

    @abstractmethod
    def join(self, tokens: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """The inverse: (B, N, D) -> (B, C, H, W); shape: (C, H, W)."""

    @classmethod
    def conformance_checks(cls) -> Sequence[Callable[[Any], None]]:
        """What must hold of every stem, whoever wrote it."""
        return [joins_what_it_splits, keeps_white_noise_white]


def joins_what_it_splits(case: Any) -> None:
    """The image comes back, from tokens of the shape that is stated."""
    for stem in case.variants():
        side = 2 * stem.stride
        image = torch.randn(2, 3, side, 2 * side)
        tokens = stem.split(image)
        assert tokens.shape == (2, 8, 3 * stem.stride**2), f"{stem!r}: gives tokens of shape {tuple(tokens.shape)}"
        back = stem.join(tokens, (3, side, 2 * side))
        assert back.shape == image.shape and torch.allclose(back, image, atol=1e-5), f"{stem!r}: another image"


def keeps_white_noise_white(case: Any) -> None:
    """Products of images are those of their tokens: an orthonormal change of basis."""
    for stem in case.variants():
        side = 2 * stem.stride
        pixels = torch.eye(side * side).reshape(-1, 1, side, side)
        tokens = stem.split(pixels).flatten(1)
        assert torch.allclose(tokens @ tokens.T, torch.eye(side * side), atol=1e-5), f"{stem!r}: is not orthonormal"


class Patches(Stem):
    """Squares of pixels as they are (Dosovitskiy et al. 2021)."""

    name = "patches"
    default = True

    size: Annotated[int, Field(ge=1, le=64), Choice(2, 4, 8)] = 4  # pixels of a side

    @property
    def stride(self) -> int:
        """The side of a square."""
        return self.size

    def split(self, image: Tensor) -> Tensor:
        """Row by row; within a token by channel, then row by row."""
        return nn.functional.unfold(image, self.size, stride=self.size).transpose(1, 2)

    def join(self, tokens: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Squares do not overlap, so that they are laid beside one another."""
        return nn.functional.fold(tokens.transpose(1, 2), shape[1:], self.size, stride=self.size)


class Haar(Stem):
    """Haar wavelets: a token holds the brightness of its square and details of every scale, of all directions."""

    name = "haar"

    levels: Annotated[int, Field(ge=1, le=6), Choice(1, 2, 3)] = 2  # a token for squares of 2^levels pixels

    @property
    def stride(self) -> int:
        """Each level halves both sides."""
        return int(2**self.levels)

    def split(self, image: Tensor) -> Tensor:
        """At each level four channels of half the size take the place of one; (B, D, H', W') -> (B, N, D)."""
        for _ in range(self.levels):
            image = _halved(image)
        return image.flatten(2).transpose(1, 2)

    def join(self, tokens: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Level by level back; the transform of one level is its own inverse."""
        image = tokens.transpose(1, 2).unflatten(2, (shape[1] // self.stride, shape[2] // self.stride))
        for _ in range(self.levels):
            image = nn.functional.pixel_shuffle(_mixed(image), 2)
        return image


def _halved(image: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 4·C, H/2, W/2): sum and three differences of each 2×2 square."""
    return _mixed(nn.functional.pixel_unshuffle(image, 2))


def _mixed(four: Tensor) -> Tensor:
    """Multiply each four channels (a, b, c, d) of (B, 4·C, H, W) by the symmetric 4×4 Hadamard matrix / 2."""
    a, b, c, d = four.unflatten(1, (-1, 4)).unbind(2)
    parts = (a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d)
    return torch.stack([part / 2 for part in parts], dim=2).flatten(1, 2)


class Block(nn.Module):
    """Mixes tokens, then channels; each is told noise level and class by shift and scale (Tolstikhin et al. 2021)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.told = nn.Linear(width, 4 * width)
        self.norms = nn.ModuleList([nn.LayerNorm(width, elementwise_affine=False) for _ in range(2)])
        self.along = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.across = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """(B, N, width), (B, width) -> (B, N, width)."""
        shift, scale, shift2, scale2 = self.told(nn.functional.silu(embedding))[:, None].chunk(4, dim=-1)
        mixed = self.norms[0](h) * (1 + scale) + shift
        h = h + self.along(mixed.transpose(1, 2)).transpose(1, 2)
        return h + self.across(self.norms[1](h) * (1 + scale2) + shift2)


class Network(nn.Module):
    """Split, mix, join."""

    def __init__(self, stem: Stem, setting: InputSpec, width: int, depth: int) -> None:
        super().__init__()
        channels, height, wide = setting.shape
        tokens, values = height * wide // stem.stride**2, channels * stem.stride**2
        self.stem, self.shape = stem, setting.shape
        self.noise = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = None if setting.classes is None else nn.Embedding(setting.classes + 1, width)
        self.first = nn.Linear(values, width)
        self.blocks = nn.ModuleList([Block(tokens, width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, values)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """(B, C, H, W); (B,) the label of the noise level; (B,) int64, `classes` for no class -> (B, C, H, W)."""
        embedding = self.noise(noise.to(x.dtype)[:, None])
        if self.classes is not None:
            given = torch.full(noise.shape, self.classes.num_embeddings - 1, device=x.device)
            embedding = embedding + self.classes(given if labels is None else labels)
        h = self.first(self.stem.split(x))
        for block in self.blocks:
            h = block(h, embedding)
        return self.stem.join(self.last(self.norm(h)), self.shape)


class TokenMixer(Backbone):
    """An MLP-Mixer over the tokens of a stem: no attention, no convolution."""

    name = "token_mixer"

    stem: Stem = slot("patches")  # how an image becomes tokens
    width: Annotated[int, Field(ge=1, le=4096), Choice(32, 64, 128)] = 64  # channels of a token
    depth: Annotated[int, Field(ge=1, le=1000), Range(2, 8)] = 4  # blocks

    def provides(self) -> frozenset[str]:
        """A null class, for guidance."""
        return frozenset({"null_class"})

    def refuse(self, setting: InputSpec) -> str | None:
        """Sides that are no multiple of the stem's stride."""
        if any(side % self.stem.stride for side in setting.shape[1:]):
            return (
                f"stem {self.stem.name!r} needs sides that are multiples of {self.stem.stride}, not {setting.shape[1:]}"
            )
        return None

    def build(self, setting: InputSpec) -> nn.Module:
        """Also on the meta device; initial weights come from torch's global generator."""
        return Network(self.stem, setting, self.width, self.depth)
