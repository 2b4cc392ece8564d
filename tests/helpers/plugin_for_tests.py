"""Small components with every trait that reading a study has to deal with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ablate.api import (
    Assignment,
    Backbone,
    Choice,
    Conditioning,
    Data,
    Dataset,
    Design,
    Dimension,
    Extent,
    InputSpec,
    Range,
    When,
    slot,
)

if TYPE_CHECKING:
    import optuna
    from torch import nn


class ToyData(Data):
    """Random squares."""

    name = "toy"
    size: Annotated[int, Field(ge=4, le=64)] = 8
    labelled: bool = True

    def provides(self) -> frozenset[str]:
        return frozenset({"labels"} if self.labelled else ())

    def setting(self) -> InputSpec:
        return InputSpec((1, self.size, self.size), 4 if self.labelled else None)

    def load(self, cache: Path) -> Dataset:
        images = np.zeros((8, 1, self.size, self.size), np.uint8)
        labels = np.arange(8) % 4 if self.labelled else None
        return Dataset(images, labels, images, labels, 4 if self.labelled else None, "0" * 64)


class ToyTokens(Backbone):
    """A convolution a layer, between patches."""

    name = "toy_tokens"
    width: Annotated[int, Field(ge=1), Choice(8, 16)] = 8
    depth: Annotated[int, Field(ge=1, le=8), Range(1, 4)] = 2
    patch: Annotated[int, Field(ge=1)] = 1
    norm: Literal["layer", "group"] = "layer"
    groups: Annotated[int, Field(ge=1), When("norm", ("group",)), Choice(2, 4)] = 2
    conditioning: Conditioning = slot("toy_scale")

    def provides(self) -> frozenset[str]:
        return frozenset({"null_class", "tokens"})

    def refuse(self, setting: InputSpec) -> str | None:
        if setting.shape[1] % self.patch:
            return f"patch {self.patch} does not divide {setting.shape[1]} pixels; choose a divisor"
        return None

    def build(self, setting: InputSpec) -> nn.Module:
        from torch import nn

        class Net(nn.Module):
            def __init__(self, channels: int, width: int, depth: int) -> None:
                super().__init__()
                self.first = nn.Conv2d(channels, width, 3, padding=1)
                self.rest = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
                self.last = nn.Conv2d(width, channels, 3, padding=1)

            def forward(self, x: Any, noise: Any, labels: Any = None) -> Any:
                x = self.first(x) + noise.reshape(-1, 1, 1, 1)
                for layer in self.rest:
                    x = layer(x).relu()
                return self.last(x)

        return Net(setting.shape[0], self.width, self.depth)


class ToyMaps(ToyTokens):
    """The same for feature maps, without a null class."""

    name = "toy_maps"
    conditioning: Conditioning = slot("toy_map_scale")

    def provides(self) -> frozenset[str]:
        return frozenset({"feature_maps"})


class ToyScale(Conditioning):
    """For any network."""

    name = "toy_scale"
    gain: Annotated[float, Field(gt=0), Range(0.1, 10, log=True)] = 1.0


class ToyShift(Conditioning):
    """For tokens."""

    name = "toy_shift"

    def requires(self) -> Mapping[str, str]:
        return {"tokens": "it shifts tokens"}


class ToyMapScale(Conditioning):
    """For feature maps."""

    name = "toy_map_scale"

    def requires(self) -> Mapping[str, str]:
        return {"feature_maps": "it scales channels of maps"}


class ToyOneFactor(Design):
    """The base, then each other choice alone."""

    name = "toy_one_factor"

    def proposals(self, dimensions: Sequence[Dimension]) -> Sequence[Assignment]:
        base = {d.path: d.baseline for d in dimensions if d.baseline is not None}
        return [base, *({**base, d.path: c} for d in dimensions for c in d.choices if c != d.baseline)]

    def candidates(self, dimensions: Sequence[Dimension]) -> int:
        return len(self.proposals(dimensions))

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.RandomSampler(seed)


class ToyGrid(ToyOneFactor):
    """Every combination."""

    name = "toy_grid"

    def proposals(self, dimensions: Sequence[Dimension]) -> Sequence[Assignment]:
        paths = [d.path for d in dimensions]
        return [dict(zip(paths, labels, strict=True)) for labels in product(*(d.choices for d in dimensions))]


class ToySearch(ToyOneFactor):
    """Whatever the sampler finds."""

    name = "toy_search"
    wanted: Annotated[int, Field(ge=1), Extent()] = 20

    def proposals(self, dimensions: Sequence[Dimension]) -> None:
        return None

    def candidates(self, dimensions: Sequence[Dimension]) -> int:
        return self.wanted
