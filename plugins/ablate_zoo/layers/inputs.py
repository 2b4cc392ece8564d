"""Which conditions a network takes in: those of its embedders, and what the candidate's own parts tell it."""

from __future__ import annotations

from collections.abc import Iterable

from ablate.api import ConditionSpec, Embedder, InputSpec


def unembedded(parts: Iterable[Embedder], setting: InputSpec) -> list[ConditionSpec]:
    """Return the conditions that are held and that none of the embedders embeds: images of the size, and numbers.

    They come from the candidate itself, such as the last prediction, or the parameters of an augmentation. A network
    takes them in as the papers do, without being told: images as channels, numbers by a linear layer.
    """
    taken = {part.condition(setting).name for part in parts if part.refuse(setting) is None}
    return [c for c in setting.conditions if c.held and c.name not in taken and _plain(c, setting)]


def _plain(spec: ConditionSpec, setting: InputSpec) -> bool:
    return spec.form == "scalars" or (spec.form == "image" and spec.shape[1:] == setting.shape[1:])
