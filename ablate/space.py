"""From `vary` and typed configs to a conditional search space.

Dotted paths name every choice. A path exists only while the component that was chosen above it has
that field, so the conditions of the space fall out of the tree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from pydantic.fields import FieldInfo

from ablate.component import Choice, Component, Config, Range, Resolver, When, create, default_name, slot_kind
from ablate.errors import Problem, SpecError, did_you_mean
from ablate.kinds.design import Assignment, Design, Dimension

if TYPE_CHECKING:
    import optuna

Label = bool | int | float | str
Admit = Callable[[Mapping[str, Any]], str | None]  # a whole spec -> why it cannot work, or None


@dataclass(frozen=True)
class Space:
    """What moves around a base. `options` maps each label of a dimension back to its spec."""

    base: Mapping[str, Any]
    root: type[Config]
    dimensions: tuple[Dimension, ...]
    options: Mapping[str, Mapping[Label, Any]]
    resolver: Resolver

    def apply(self, assignment: Assignment) -> dict[str, Any]:
        """The base with the assignment's choices in their places."""
        spec = deepcopy(dict(self.base))
        for path in sorted(assignment, key=lambda p: p.count(".")):
            label = assignment[path]
            put(spec, path.split("."), deepcopy(self.options.get(path, {}).get(label, label)))
        return spec

    def present(self, assignment: Assignment, path: str) -> bool:
        """Whether the path exists and is read under the choices made so far."""
        return find_field(self.root, self.apply(assignment), path.split("."), self.resolver) is not None

    def context(self, path: str) -> Assignment:
        """The first choices above a dimension under which it exists; {} where the base has it."""
        return next((c for c in _contexts(self, path) if self.present(c, path)), {})

    def complete(self, assignment: Assignment) -> Assignment:
        """The assignment with every dimension that exists under its own choices, and with no other.

        What it does not name stays as in the base, so two ways to say one candidate become one.
        """
        chosen: dict[str, Any] = {}
        for d in self.dimensions:
            spec = self.apply(chosen)
            info = find_field(self.root, spec, d.path.split("."), self.resolver)
            if info is None:
                continue
            if d.path in assignment:
                chosen[d.path] = assignment[d.path]
            else:
                chosen[d.path] = _standing(replace(self, base=spec), d.path, info, self.options.get(d.path, {}))
        return chosen

    def proposals(self, design: Design) -> list[Assignment] | None:
        """A design's candidates, each complete and only once; None where its sampler finds them."""
        proposed = design.proposals(self.dimensions)
        if proposed is None:
            return None
        found = {json.dumps(a, sort_keys=True): a for a in map(self.complete, reversed(proposed))}
        return list(reversed(found.values()))

    def admitting(self, proposals: Sequence[Assignment]) -> Space:
        """The space with every proposed label among the choices, such as a base that `vary` does not list."""
        dimensions = []
        for d in self.dimensions:
            labels = dict.fromkeys((*d.choices, *(a[d.path] for a in proposals if d.path in a))) if d.choices else {}
            dimensions.append(replace(d, choices=tuple(labels)))
        return replace(self, dimensions=tuple(dimensions))

    def suggest(self, trial: optuna.trial.Trial) -> Assignment:
        """Ask Optuna for every dimension that exists under the choices made before it."""
        chosen: dict[str, Any] = {}
        for d in self.dimensions:
            if not self.present(chosen, d.path):
                continue
            if d.choices:
                chosen[d.path] = trial.suggest_categorical(d.path, list(d.choices))
            elif d.integer:
                assert d.low is not None and d.high is not None
                step = 1 if d.step is None else int(d.step)
                chosen[d.path] = trial.suggest_int(d.path, int(d.low), int(d.high), log=d.log, step=step)
            else:
                assert d.low is not None and d.high is not None
                chosen[d.path] = trial.suggest_float(d.path, d.low, d.high, log=d.log, step=d.step)
        return chosen


def make_space(
    root: type[Config], base: Mapping[str, Any], vary: Mapping[str, Any], resolver: Resolver, admit: Admit
) -> Space:
    """The space of a study. `admit` filters the choices of `all` to those that work in the base.

    Raises SpecError, with paths below `vary`, for what does not exist or cannot vary.
    """
    problems: list[Problem] = []
    dimensions: list[Dimension] = []
    options: dict[str, Mapping[Label, Any]] = {}
    space = Space(base, root, (), {}, resolver)
    for path in sorted(vary, key=lambda p: p.count(".")):  # what a path depends on comes first
        try:
            info, context = _locate(space, path)
            dimension, labels = _dimension(space, path, vary[path], info, context, admit)
        except SpecError as error:
            problems.extend(error.problems)
            continue
        dimensions.append(dimension)
        options[path] = labels
        space = Space(base, root, tuple(dimensions), options, resolver)
    if problems:
        raise SpecError(problems)
    return space


def put(spec: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value deep in a spec; a slot that is given by its name alone becomes a mapping."""
    for key in path[:-1]:
        held = spec.get(key, {})
        spec[key] = {"type": held} if isinstance(held, str) else dict(held)
        spec = spec[key]
    spec[path[-1]] = value


def label_of(option: Any) -> Label:
    """How a choice is called in tables: its name, its value, or `name(field=value)`."""
    if isinstance(option, Mapping):
        fields = ", ".join(f"{k}={label_of(v)}" for k, v in option.items() if k != "type")
        named = str(option.get("type", ""))
        return f"{named}({fields})" if fields else named
    if isinstance(option, bool | int | float | str):
        return option
    return json.dumps(option)


def find_field(
    root: type[Config], spec: Mapping[str, Any], path: Sequence[str], resolver: Resolver
) -> FieldInfo | None:
    """The declaration of the field at a path of a spec; None where there is none, or it is not read."""
    info = root.model_fields.get(path[0])
    if info is None:
        return None
    for meta in info.metadata:
        sibling = root.model_fields.get(meta.field) if isinstance(meta, When) else None
        if sibling is not None and spec.get(meta.field, sibling.default) not in meta.values:
            return None
    if len(path) == 1:
        return info
    cls, below = _held(info, spec.get(path[0]), resolver)
    return None if cls is None else find_field(cls, below, path[1:], resolver)


def _held(info: FieldInfo, value: Any, resolver: Resolver) -> tuple[type[Config] | None, Mapping[str, Any]]:
    """The class that fills a slot, by what the spec says or by default, and the spec below it."""
    kind = slot_kind(info)
    if kind is None:
        return None, {}
    if value is None:
        value = default_name(info, resolver)
    below = value if isinstance(value, Mapping) else {"type": value}
    named = below.get("type", default_name(info, resolver) or resolver.default(kind.kind))
    if not isinstance(named, str):
        return None, {}
    try:
        return resolver.get(kind.kind, named), below
    except SpecError:
        return None, {}


def _locate(space: Space, path: str) -> tuple[FieldInfo, Assignment]:
    """The field at a path of the base, or under the first choices above it that have such a field."""
    steps = path.split(".")
    for context in _contexts(space, path):
        info = find_field(space.root, space.apply(context), steps, space.resolver)
        if info is not None:
            return info, context
    raise SpecError([Problem((path,), _why_not(space, steps))])


def _why_not(space: Space, steps: Sequence[str]) -> str:
    """Where a path leaves the base's tree, and what there is instead."""
    for depth in range(len(steps)):
        if find_field(space.root, space.base, steps[: depth + 1], space.resolver) is not None:
            continue
        above, name = steps[:depth], steps[depth]
        info = find_field(space.root, space.base, above, space.resolver) if above else None
        cls = _held(info, _get(space.base, above), space.resolver)[0] if info else space.root
        if cls is None:
            break
        what = f"{cls.kind} {cls.name!r}" if issubclass(cls, Component) else "a candidate"
        if name not in cls.model_fields:
            return f"{what} has no field {name!r}{did_you_mean(name, cls.model_fields)}"
        when = next(meta for meta in cls.model_fields[name].metadata if isinstance(meta, When))
        allowed = " or ".join(map(repr, when.values))
        return f"{what} reads {name!r} only while {when.field!r} is {allowed}; say so in the base, or vary it too"
    return "nothing to vary there: no component is held at this path"


def _contexts(space: Space, path: str) -> Iterator[Assignment]:
    """The base itself, then each choice of each dimension above the path."""
    yield {}
    for d in space.dimensions:
        if path.startswith(f"{d.path}."):
            for context in _contexts(space, d.path):
                yield from ({**context, d.path: choice} for choice in d.choices)


def _get(spec: Any, path: Sequence[str]) -> Any:
    for key in path:
        spec = spec.get(key) if isinstance(spec, Mapping) else None
    return spec


def _dimension(
    space: Space, path: str, wanted: Any, info: FieldInfo, context: Assignment, admit: Admit
) -> tuple[Dimension, Mapping[Label, Any]]:
    kind = slot_kind(info)
    if wanted == "all" and kind is not None:
        wanted = _admitted(space, path, kind.kind, context, admit)
    elif wanted == "all":
        wanted = _default_range(path, info)
    if isinstance(wanted, Mapping) and "type" not in wanted:
        ranged = _ranged(path, wanted, info)
        present = find_field(space.root, space.base, path.split("."), space.resolver) is not None
        return replace(ranged, baseline=_standing(space, path, info, {}) if present else None), {}
    if not isinstance(wanted, list | tuple) or not wanted:
        raise SpecError([Problem((path,), f"expected a list of choices, 'all', or low and high, not {wanted!r}")])
    labels = {label_of(option): option for option in wanted}
    if len(labels) < len(wanted):
        raise SpecError([Problem((path,), "the same choice stands twice")])
    if find_field(space.root, space.base, path.split("."), space.resolver) is None:
        return Dimension(path, tuple(labels)), labels
    held = _get(space.base, path.split("."))
    baseline = _standing(space, path, info, labels)
    # A choice that is the base's own means the base as it stands, with the fields that it gives.
    options = labels if held is None else {**labels, baseline: held}
    return Dimension(path, tuple(labels), baseline=baseline), options


def _standing(space: Space, path: str, info: FieldInfo, labels: Mapping[Label, Any]) -> Label:
    """What the base has at this path, under the label of the choice that says the same.

    A bare name stands for the base's own component of that name, whatever fields the base gives it.
    """
    held = _get(space.base, path.split("."))
    kind = slot_kind(info)
    if kind is None:
        return label_of(info.get_default(call_default_factory=True) if held is None else held)
    if held is None:
        held = default_name(info, space.resolver)
    if held is None:
        return label_of(None)
    named = held if isinstance(held, str) else held.get("type", default_name(info, space.resolver))
    for name in (named, str(named).rpartition(":")[2]):
        if name in labels and isinstance(labels[name], str):
            return str(name)
    try:
        digest = create(kind, held, space.resolver).digest()
        for label, option in labels.items():
            if create(kind, option, space.resolver).digest() == digest:
                return label
    except SpecError:
        pass  # the base or a choice is wrong, which is told where it is composed
    return label_of(held)


def _admitted(space: Space, path: str, kind: str, context: Assignment, admit: Admit) -> list[str]:
    """Every component of the kind that the base, with it in this place, does not refuse."""
    names: list[str] = space.resolver.names(kind)
    reasons = {}
    for name in names:
        spec = space.apply(context)
        put(spec, path.split("."), name)
        reasons[name] = admit(spec)
    kept = [name for name in names if reasons[name] is None]
    if not kept:
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise SpecError([Problem((path,), f"no {kind} works here ({why})")])
    return kept


def _default_range(path: str, info: FieldInfo) -> Any:
    for meta in info.metadata:
        if isinstance(meta, Choice):
            return list(meta.values)
        if isinstance(meta, Range):
            return {"low": meta.low, "high": meta.high, "log": meta.log, "step": meta.step}
    if info.annotation is bool:
        return [False, True]
    raise SpecError([Problem((path,), "it declares no default search range: list the choices, or give low and high")])


def _ranged(path: str, wanted: Mapping[str, Any], info: FieldInfo) -> Dimension:
    unknown = set(wanted) - {"low", "high", "log", "step"}
    if unknown:
        word = sorted(unknown)[0]
        hint = did_you_mean(word, ["low", "high", "log", "step"])
        raise SpecError([Problem((path, word), f"a range has no {word!r}{hint}")])
    low, high, log, step = (wanted.get(key) for key in ("low", "high", "log", "step"))
    types = {info.annotation, *get_args(info.annotation)}
    if not types & {int, float}:
        raise SpecError([Problem((path,), "holds no number, so it has no range: list the choices")])
    numbers = [n for n in (low, high) if isinstance(n, int | float) and not isinstance(n, bool)]
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise SpecError([Problem((path,), f"a range needs numbers low < high, not {low!r} and {high!r}")])
    if log and (numbers[0] <= 0 or step is not None):
        raise SpecError([Problem((path,), "a logarithmic range needs low > 0, and no step")])
    if step is not None and (isinstance(step, bool) or not isinstance(step, int | float) or step <= 0):
        raise SpecError([Problem((path, "step"), f"expected a number above 0, not {step!r}")])
    integer = float not in types
    if integer and any(n is not None and n != int(n) for n in (*numbers, step)):
        raise SpecError([Problem((path,), f"takes whole numbers, not {low!r}, {high!r} in steps of {step!r}")])
    return Dimension(path, (), float(numbers[0]), float(numbers[1]), bool(log), step, integer)
