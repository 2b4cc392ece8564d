"""Construction of the conditional search space from a study's `vary`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ablate.candidates.space import Label, Space, baseline_label, labels_of
from ablate.errors import Problem, SpecError, did_you_mean
from ablate.kinds.design import Assignment, Dimension
from ablate.spec.component import Choice, Config, Range, Resolver
from ablate.spec.fields import conditions, find_field, get, put, why_not
from ablate.spec.slots import default_name, slot_kind

RANGE = ("low", "high", "log", "step")  # what a range says
Admit = Callable[[Mapping[str, Any]], str | None]  # a whole spec -> why it cannot work, or None


def make_space(
    root: type[Config], base: Mapping[str, Any], vary: Mapping[str, Any], resolver: Resolver, admit: Admit
) -> Space:
    """Build a study's conditional search space. `admit` filters the choices of `all` to those that work in the base.

    What a path depends on comes before it. Raises SpecError, with paths below `vary`, for what does
    not exist or cannot vary.
    """
    problems: list[Problem] = []
    space = Space(base, root, (), {}, resolver)
    waiting = sorted(vary, key=lambda p: p.count("."))  # what is chosen above a path comes before it
    while waiting:
        path = next((p for p in waiting if _ready(space, p, waiting)), waiting[0])
        waiting.remove(path)
        try:
            info, context = _locate(space, path)
            dimension, options, left_out = _dimension(space, path, vary[path], info, context, admit)
        except SpecError as error:
            problems.extend(error.problems)
            continue
        space = replace(
            space,
            dimensions=(*space.dimensions, replace(dimension, place=list(vary).index(path))),
            options={**space.options, path: options},
            left_out={**space.left_out, **({path: left_out} if left_out else {})},
        )
    if problems:
        raise SpecError(problems)
    return replace(space, dimensions=tuple(replace(d, depends=_depends(space, d.path)) for d in space.dimensions))


def _ready(space: Space, path: str, waiting: list[str]) -> bool:
    """Return whether all dimensions that the path depends on are in the space already."""
    steps = path.split(".")
    for context in space.contexts(path):
        spec = space.apply(context)
        if set(conditions(space.root, spec, steps, space.resolver)) & set(waiting):
            return False
    return not any(path.startswith(f"{other}.") for other in waiting)


def _depends(space: Space, path: str) -> tuple[str, ...]:
    """Return the other dimensions of which some choice takes the path away: what is above it, or its condition."""
    steps = path.split(".")
    contexts = [context for context in space.contexts(path) if space.present(context, path)]
    deciding = {one for c in contexts for one in conditions(space.root, space.apply(c), steps, space.resolver)}
    others = [d for d in space.dimensions if d.path in deciding or path.startswith(f"{d.path}.")]
    return tuple(
        d.path for d in others if any(not space.present({**contexts[0], d.path: choice}, path) for choice in d.choices)
    )


def _locate(space: Space, path: str) -> tuple[FieldInfo, Assignment]:
    """Return the field at a path of the base, or under the first choices under which there is one."""
    steps = path.split(".")
    for context in space.contexts(path):
        info = find_field(space.root, space.apply(context), steps, space.resolver)
        if info is not None:
            return info, context
    raise SpecError([Problem((path,), why_not(space.root, space.base, steps, space.resolver))])


def _dimension(
    space: Space, path: str, choices: Any, info: FieldInfo, context: Assignment, admit: Admit
) -> tuple[Dimension, Mapping[Label, Any], Mapping[str, str]]:
    """Return the dimension, the spec of each label, and what `all` leaves out: {name: why}."""
    kind = slot_kind(info)
    left_out: Mapping[str, str] = {}
    if choices == "all" and kind is not None:
        several = get_origin(info.annotation) is tuple
        choices, left_out = _admitted(space, path, kind.kind, several, context, admit)
        if several:  # each by itself
            choices = [[{"type": name}] for name in choices]
    elif choices == "all":
        choices = _default_range(path, info)
    if isinstance(choices, Mapping) and "type" not in choices and not (kind is not None and are_named(choices)):
        ranged = _ranged(path, choices, info)
        present = find_field(space.root, space.base, path.split("."), space.resolver) is not None
        return replace(ranged, baseline=baseline_label(space, path, info, {}) if present else None), {}, left_out
    named = dict(choices) if kind is not None and are_named(choices) else None
    if named is None and (not isinstance(choices, list | tuple) or not choices):
        raise SpecError([Problem((path,), f"expected a list of choices, 'all', or low and high, not {choices!r}")])
    base_value = get(space.base, path.split("."))
    base_option = default_name(info, space.resolver) if base_value is None and kind is not None else base_value
    labels = labels_of(choices, base_option) if named is None else named
    if len(labels) < len(choices):
        raise SpecError([Problem((path,), "the same choice stands twice")])
    if find_field(space.root, space.base, path.split("."), space.resolver) is None:
        return Dimension(path, tuple(labels)), labels, left_out
    baseline = baseline_label(space, path, info, labels)
    default = info.get_default(call_default_factory=True) if base_value is None else None
    if isinstance(default, tuple):  # its label is a text, which no field of a list takes
        base_value = [part.spec() if isinstance(part, Config) else part for part in default]
    # A choice that is the base's own means the base as it stands, with the fields that it gives.
    options = labels if base_value is None else {**labels, baseline: base_value}
    return Dimension(path, tuple(labels), baseline=baseline), options, left_out


def are_named(choices: Any) -> bool:
    """Return whether the choices of a slot have names of their own, {name: component}, which the tables then show."""
    if not isinstance(choices, Mapping) or not choices or {"type", *RANGE} & set(choices):
        return False
    return all(isinstance(name, str) and isinstance(one, str | Mapping) for name, one in choices.items())


def _admitted(
    space: Space, path: str, kind: str, several: bool, context: Assignment, admit: Admit
) -> tuple[list[str], dict[str, str]]:
    """Return the components of the kind that work at this path in the base, or under some choice above.

    And the others, each with the first reason. several: the field holds a list of components.
    """
    names: list[str] = space.resolver.names(kind)
    contexts = [context, *(other for other in space.contexts(path) if space.present(other, path) and other != context)]
    reasons: dict[str, str | None] = {}
    for name in names:
        for above in contexts:  # what fits under one of the choices above is a choice; the first reason is told
            spec = space.apply(above)
            put(spec, path.split("."), [{"type": name}] if several else name)
            reason = admit(spec)
            reasons[name] = None if reason is None else reasons.get(name) or reason
            if reason is None:
                break
    admitted = [name for name in names if reasons[name] is None]
    if not admitted:
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise SpecError([Problem((path,), f"no {kind} works here ({why})")])
    return admitted, {name: reason for name, reason in reasons.items() if reason is not None}


def _default_range(path: str, info: FieldInfo) -> Any:
    for meta in info.metadata:
        if isinstance(meta, Choice):
            return list(meta.values)
        if isinstance(meta, Range):
            return {"low": meta.low, "high": meta.high, "log": meta.log, "step": meta.step}
    if info.annotation is bool:
        return [False, True]
    if get_origin(info.annotation) is Literal:
        return list(get_args(info.annotation))
    raise SpecError([Problem((path,), "it declares no default search range: list the choices, or give low and high")])


def _ranged(path: str, bounds: Mapping[str, Any], info: FieldInfo) -> Dimension:
    unknown = set(bounds) - set(RANGE)
    if unknown:
        word = sorted(unknown)[0]
        hint = did_you_mean(word, RANGE)
        raise SpecError([Problem((path, word), f"a range has no {word!r}{hint}")])
    low, high, log, step = (bounds.get(key) for key in ("low", "high", "log", "step"))
    types = {info.annotation, *get_args(info.annotation)}
    if not types & {int, float}:
        raise SpecError([Problem((path,), "holds no number, so it has no range: list the choices")])
    numbers = [n for n in (low, high) if isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n)]
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise SpecError([Problem((path,), f"a range needs numbers low < high, not {low!r} and {high!r}")])
    if log and (numbers[0] <= 0 or step is not None):
        raise SpecError([Problem((path,), "a logarithmic range needs low > 0, and no step")])
    if step is not None and (isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf):
        raise SpecError([Problem((path, "step"), f"expected a number above 0, not {step!r}")])
    integer = float not in types
    if integer and any(n is not None and n != int(n) for n in (*numbers, step)):
        raise SpecError([Problem((path,), f"takes whole numbers, not {low!r}, {high!r} in steps of {step!r}")])
    top = numbers[1]
    if step is not None:  # the last step that lies in the range: Optuna would take it too, with a warning of its own
        first, last, by = (Decimal(str(number)) for number in (numbers[0], top, step))
        top = float(first + (last - first) // by * by)
        if not numbers[0] < top:
            raise SpecError([Problem((path, "step"), f"a step of {step:g} is longer than the range")])
    return Dimension(path, (), float(numbers[0]), float(top), bool(log), step, integer)
