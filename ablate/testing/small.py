"""Components made small, so that their checks take a blink; no field is known by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ablate.candidates.candidate import cost_of
from ablate.candidates.flops import Cost
from ablate.errors import Path
from ablate.kinds.backbone import Backbone
from ablate.spec.component import Component, InputSpec
from ablate.testing.case import NotApplicable

ENOUGH = 2_000_000  # parameters and multiply-accumulates of a network that is small
LIKE = 10  # times as much, for one that is made as small as another of its class
LEAST = 2  # of any whole number: one layer, head or step may hide what happens between two
SETTINGS = [InputSpec((channels, side, side), 3) for side in (8, 16, 32, 64) for channels in (3, 1, 4)]


def settle(backbone: Backbone) -> InputSpec:
    """Return the smallest data on which a backbone works."""
    refusals = []
    for setting in SETTINGS:
        refusal = next(filter(None, (part.refuse(setting) for _, part in backbone.parts())), None)
        if refusal is None:
            return setting
        refusals.append(refusal)
    raise NotApplicable(f"it refuses images of 8 to 64 pixels: {refusals[-1]}")


@lru_cache(maxsize=64)
def shrink(backbone: Backbone, setting: InputSpec, like: Backbone | None = None, enough: int = ENOUGH) -> Backbone:
    """Return the backbone with its whole numbers, and those of its parts, halved in turn.

    As long as that makes it cheaper, and it still works. A number that does not make it cheaper is not tried again.

    like: one of its class that is small already, whose whole numbers are tried first. enough: parameters and
    multiply-accumulates that are small.
    """
    if like is not None:
        paths = dict(numbers_of(backbone))
        numbers = {path: value for path, value in numbers_of(like) if path in paths}
        candidate = _with(backbone, setting, numbers)
        if candidate is not None and _size(cost_of(candidate, setting)) <= enough * LIKE:
            return candidate
    size = _size(cost_of(backbone, setting))
    improved, idle = True, set[Path]()
    while size > enough and improved:
        improved = False
        for path, value in numbers_of(backbone):
            if value <= LEAST or path in idle:
                continue
            candidate = _with(backbone, setting, {path: max(value // 2, LEAST)})
            if candidate is None:
                continue
            smaller = _size(cost_of(candidate, setting))
            if smaller < size:
                backbone, size, improved = candidate, smaller, True
            else:
                idle.add(path)
            if size <= enough:
                break
    return backbone


def numbers_of(whole: Component) -> list[tuple[Path, int]]:
    """Return every whole number of a component and of its parts, each with its path."""
    return [
        ((*at, field), getattr(part, field))
        for at, part in whole.parts()
        for field, info in type(part).model_fields.items()
        if info.annotation is int
    ]


def _changed(whole: Any, path: Path, value: int) -> Any:
    """Return a component, or several, with another number at a path below it."""
    if not path:
        return value
    first, *rest = path
    if isinstance(whole, tuple):
        return tuple(_changed(one, tuple(rest), value) if i == first else one for i, one in enumerate(whole))
    values = {name: getattr(whole, name) for name in type(whole).model_fields}
    changed = type(whole).model_validate({**values, first: _changed(values[str(first)], tuple(rest), value)})
    changed._qualified_name = whole._qualified_name
    return changed


def _with(backbone: Backbone, setting: InputSpec, numbers: Mapping[Path, int]) -> Backbone | None:
    """Return the backbone with other numbers; None where it does not work, whichever way it says so."""
    try:
        changed = backbone
        for path, value in numbers.items():
            changed = _changed(changed, path, value)
        if any(part.refuse(setting) for _, part in changed.parts()):
            return None
        cost_of(changed, setting)
    except Exception:  # noqa: BLE001 - a size that does not work is left out
        return None
    return changed


def _size(cost: Cost) -> int:
    return cost.params + cost.macs
