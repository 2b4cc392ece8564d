"""The record of conditions: what a network is told of each image of a batch, beside the noise level.

Where the class is the only condition, networks are given its labels as they are, a tensor (B,). Data with further
conditions, and components that tell a network something, make a record of all of them, in the labels' place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Union, cast

from ablate.spec.inputs import ConditionSpec, InputSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CLASS = "class"  # the name of the class labels in a record
PREDICTION = "prediction"  # of the image that a network has found before: self-conditioning


class Told(NamedTuple):
    """One condition of a batch."""

    # class: (B,) int64; text: (B, L) int64 token numbers, or (B, L, F) features; scalars: (B, K); image: (B, C, H, W).
    value: Tensor
    present: Tensor | None = None  # (B,) bool, False where the network has to do without; None: everywhere
    mask: Tensor | None = None  # (B, L) bool, of every text: False where a token is padding

    def rows(self, index: slice | Tensor) -> Told:
        """Return those of some images."""
        return Told(*(None if part is None else part[index] for part in self))  # type: ignore[arg-type]

    def there(self) -> Tensor:
        """Return `present` as a tensor (B,) bool."""
        return _all(self.value) if self.present is None else self.present


class Conditions(Mapping[str, Told]):
    """The conditions of a batch by name: those that are missing here are the same as dropped.

    held: names of those that `drop` leaves alone.
    """

    def __init__(self, told: Mapping[str, Told], held: Iterable[str] = ()) -> None:
        self._told = dict(told)
        self.held = frozenset(held)

    def __getitem__(self, name: str) -> Told:
        return self._told[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._told)

    def __len__(self) -> int:
        return len(self._told)

    @property
    def labels(self) -> Tensor | None:
        """The class labels, (B,) int64; None where there is no class."""
        return self._told[CLASS].value if CLASS in self._told else None

    def rows(self, index: slice | Tensor) -> Conditions:
        """Return those of some images."""
        return Conditions({name: told.rows(index) for name, told in self.items()}, self.held)

    def drop(self, which: Tensor, null: int, names: Iterable[str] | None = None) -> Conditions:
        """Drop conditions where `which` (B,) is True: those of these names, or all; a class becomes `null`."""
        chosen = set(self if names is None else names) - self.held
        return Conditions({n: _dropped(n, t, which, null) if n in chosen else t for n, t in self.items()}, self.held)

    def tell(self, name: str, told: Told, held: bool = False) -> Conditions:
        """Return the record with one more condition, or another value of it."""
        return Conditions({**self._told, name: told}, {*self.held, *([name] if held else [])})


Labels = Union["Tensor", Conditions, None]
"""What a network is told beside the noise level: class labels (B,) int64, a record of conditions, or nothing."""


def class_labels(labels: Labels) -> Tensor | None:
    """Return the class labels, (B,) int64, of what a network is told; None where there are none."""
    return labels.labels if isinstance(labels, Conditions) else labels


def told_record(labels: Labels) -> Conditions:
    """Return what a network is told as a record."""
    if isinstance(labels, Conditions):
        return labels
    return Conditions({} if labels is None else {CLASS: Told(labels)})


def rows(labels: Labels, index: slice | Tensor) -> Labels:
    """Return what is told of some images of the batch."""
    if labels is None:
        return None
    return labels.rows(index) if isinstance(labels, Conditions) else labels[index]


def without(labels: Labels, null: int, names: Iterable[str] | None = None) -> Labels:
    """Return the same with the conditions of these names dropped, or all: what guidance goes away from.

    null: the null class. Conditions that are held stay, such as the parameters of an augmentation.
    """
    import torch

    if labels is None:
        return None
    if isinstance(labels, Conditions):
        return labels.drop(_all(next(iter(labels.values())).value), null, names) if labels else labels
    return torch.full_like(labels, null)


def dropped(labels: Labels, which: Tensor, null: int, names: Iterable[str] | None = None) -> Labels:
    """Return the same with conditions dropped where `which` (B,) bool is True; see `without`."""
    if isinstance(labels, Conditions):
        return labels.drop(which, null, names)
    return None if labels is None else labels.masked_fill(which, null)


def are_dropped(labels: Labels, null: int) -> Tensor:
    """Return which images are told nothing, (B,) bool: all conditions are dropped, save those that are held."""
    import torch

    if labels is None:
        raise ValueError("where nothing is told, nothing is dropped")
    if not isinstance(labels, Conditions):
        return labels == null
    there = [told.there() for name, told in labels.items() if name not in labels.held]
    if not there:
        raise ValueError("where nothing is told, nothing is dropped")
    return ~torch.stack(there).any(0)


def joined(*labels: Labels) -> Labels:
    """Return what is told of several batches, one behind the other. All are labels, or records of the same names."""
    import torch

    if any(part is None for part in labels):
        return None
    if not isinstance(labels[0], Conditions):
        return torch.cat(cast("list[Tensor]", list(labels)))
    records = cast("list[Conditions]", list(labels))
    return Conditions({name: _joined([r[name] for r in records]) for name in records[0]}, records[0].held)


def told_on_meta(setting: InputSpec, count: int) -> Labels:
    """Return what a network is told of so many images, on torch's meta device: shapes without numbers."""
    import torch

    return _example(setting, count, torch.device("meta"))


def told_zeros(setting: InputSpec, count: int, device: torch.device) -> Labels:
    """Return class 0, first token, zeros: an example of what a network is told."""
    return _example(setting, count, device)


def absent(spec: ConditionSpec, count: int, like: Tensor) -> Told:
    """Return a condition that is dropped for all images, on the device of `like`."""
    import torch

    value, mask = _zeros(spec, count, like.device)
    return Told(value, torch.zeros(count, dtype=torch.bool, device=like.device), mask)


def _example(setting: InputSpec, count: int, device: torch.device) -> Labels:
    import torch

    labels = None if setting.classes is None else torch.zeros(count, dtype=torch.int64, device=device)
    if not setting.conditions:
        return labels
    told = {} if labels is None else {CLASS: Told(labels)}
    for spec in setting.conditions:
        value, mask = _zeros(spec, count, device)
        told[spec.name] = Told(value, mask=mask)
    return Conditions(told, (spec.name for spec in setting.conditions if spec.held))


def _zeros(spec: ConditionSpec, count: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    import torch

    numbers = torch.int64 if spec.count is not None else torch.float32
    value = torch.zeros(count, *spec.shape, dtype=numbers, device=device)
    mask = torch.ones(count, spec.shape[0], dtype=torch.bool, device=device) if spec.form == "text" else None
    return value, mask


def _all(value: Tensor) -> Tensor:
    import torch

    return torch.ones(len(value), dtype=torch.bool, device=value.device)


def _dropped(name: str, told: Told, which: Tensor, null: int) -> Told:
    value = told.value.masked_fill(which, null) if name == CLASS else told.value
    return Told(value, told.there() & ~which, told.mask)


def _joined(parts: list[Told]) -> Told:
    import torch

    present = None if all(p.present is None for p in parts) else torch.cat([p.there() for p in parts])
    masks = [p.mask for p in parts if p.mask is not None]
    return Told(torch.cat([p.value for p in parts]), present, torch.cat(masks) if masks else None)
