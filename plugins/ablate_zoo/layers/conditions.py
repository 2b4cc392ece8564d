"""The conditions of a network beside timestep and class: their embeddings, joined to its context."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import (
    ConditionSpec,
    Context,
    Embedded,
    Embedder,
    EmbedderSite,
    InputSpec,
    Labels,
    Told,
    absent,
    told_record,
)
from ablate_zoo.layers.inputs import unembedded


class Embedders(nn.Module):
    """Embeds conditions, each by a module of its own; vectors are added to the context's, tokens and channels join."""

    def __init__(self, parts: Sequence[tuple[ConditionSpec, nn.Module]]) -> None:
        super().__init__()
        self.specs = [spec for spec, _ in parts]
        self.parts = nn.ModuleDict({spec.name: module for spec, module in parts})

    def forward(self, context: Context, labels: Labels) -> Context:
        """Return the context with the conditions in it. What the record does not hold is dropped."""
        record, noise = told_record(labels), context.noise
        for spec in self.specs:
            told = record[spec.name] if spec.name in record else absent(spec, len(noise), noise)
            context = joined(context, self.parts[spec.name](told))
        return context


def joined(context: Context, embedded: Embedded) -> Context:
    """Return a context with one condition more. A vector without tokens joins their sequence too, as a class does."""
    embedding, tokens, mask, channels = context.embedding, context.tokens, context.mask, context.channels
    if embedded.vector is not None:
        embedding = embedding + embedded.vector.to(embedding.dtype)
    further = embedded.tokens
    if further is None and embedded.vector is not None:
        further = embedded.vector[:, None]
    if further is not None:
        before = _everywhere(tokens) if mask is None else mask
        after = _everywhere(further) if embedded.mask is None else embedded.mask
        if mask is not None or embedded.mask is not None:
            mask = torch.cat([before, after], dim=1)
        tokens = torch.cat([tokens, further.to(tokens.dtype)], dim=1)
    if embedded.channels is not None:
        channels = embedded.channels if channels is None else torch.cat([channels, embedded.channels], dim=1)
    return context._replace(embedding=embedding, tokens=tokens, mask=mask, channels=channels)


class ImageChannels(nn.Module):
    """A condition that is an image, as channels beside those of the noisy one; zero where it is dropped."""

    def forward(self, told: Told) -> Embedded:
        """(B, C, H, W), as it is."""
        if told.present is None:
            return Embedded(channels=told.value)
        return Embedded(channels=torch.where(told.present[:, None, None, None], told.value, 0.0))


class LinearEmbedding(nn.Module):
    """A linear layer without bias over (B, K) numbers, or over classes as one-hot vectors times √K."""

    def __init__(self, inputs: int, width: int, one_hot: bool) -> None:
        super().__init__()
        self.inputs = inputs
        self.one_hot = one_hot
        self.linear = nn.Linear(inputs, width, bias=False)
        nn.init.normal_(self.linear.weight, std=1 / math.sqrt(inputs))

    def forward(self, told: Told) -> Embedded:
        """(B, width); zero where it is dropped. The null class is beyond the last one."""
        weight = self.linear.weight
        if self.one_hot:
            hot = F.one_hot(told.value.clamp(max=self.inputs), self.inputs + 1)[:, : self.inputs]
            values = hot.to(weight.dtype) * math.sqrt(self.inputs)
        else:
            values = told.value.to(weight.dtype)
        if told.present is not None:
            values = torch.where(told.present[:, None], values, 0.0)
        return Embedded(vector=self.linear(values))


def embedders(
    parts: Iterable[Embedder],
    setting: InputSpec,
    width: int,
    further: Iterable[tuple[ConditionSpec, nn.Module]] = (),
) -> Embedders | None:
    """Build the embedders of a network for vectors of `width` numbers; None where it has none."""
    parts, site = tuple(parts), EmbedderSite(width, setting.shape)
    made = [(spec, part.build(spec, site)) for part in parts for spec in [part.condition(setting)]]
    made += [(spec, _plain(spec, width)) for spec in unembedded(parts, setting)]
    made += further
    return Embedders(made) if made else None


def joined_channels(parts: Iterable[Embedder], setting: InputSpec) -> int:
    """Return how many channels a network's conditions join to those of the image."""
    parts = tuple(parts)
    own = sum(spec.shape[0] for spec in unembedded(parts, setting) if spec.form == "image")
    return own + sum(part.channels(part.condition(setting)) for part in parts)


def _plain(spec: ConditionSpec, width: int) -> nn.Module:
    return ImageChannels() if spec.form == "image" else LinearEmbedding(spec.shape[0], width, one_hot=False)


def with_channels(x: Tensor, context: Context) -> Tensor:
    """Return the image with the channels of its conditions."""
    return x if context.channels is None else torch.cat([x, context.channels.to(x.dtype)], dim=1)


def _everywhere(tokens: Tensor) -> Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
