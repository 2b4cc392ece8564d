"""The conditional search space: which choices a study varies, and which of them exist under which other choices.

Dotted paths name every choice. A path exists only while the component that was chosen above it has
that field, so the conditions of the space fall out of the tree. `ablate.candidates.vary` makes spaces.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_origin

from pydantic.fields import FieldInfo

from ablate.errors import SpecError
from ablate.kinds.design import Assignment, Design, Dimension
from ablate.spec.component import Config, Resolver
from ablate.spec.fields import conditions, find_field, get, put
from ablate.spec.slots import create, default_name, named_today, slot_kind

if TYPE_CHECKING:
    import optuna

Label = bool | int | float | str


@dataclass(frozen=True)
class Space:
    """A conditional search space around a base. `options` maps each label of a dimension back to its spec."""

    base: Mapping[str, Any]
    root: type[Config]
    dimensions: tuple[Dimension, ...]
    options: Mapping[str, Mapping[Label, Any]]
    resolver: Resolver
    left_out: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of `all`: {path: {name: why}}
    admitted: Mapping[str, tuple[Label, ...]] = field(default_factory=dict)  # labels that are proposed, not listed
    # What designs have listed: thousands of candidates take a while, and many ask.
    _listed: list[tuple[Design, list[Assignment]]] = field(default_factory=list, init=False, compare=False, repr=False)

    def apply(self, assignment: Assignment) -> dict[str, Any]:
        """Return the base's spec with the assignment's choices put into it.

        A word that is none of the options may be the label of what stands there already, such as what a family's
        choice says below itself: that stays. Any other is put there, to be refused where it is composed.
        """
        spec: dict[str, Any] = _copied(dict(self.base))
        for path in sorted(assignment, key=lambda p: p.count(".")):
            label, options, steps = assignment[path], self.options.get(path, {}), path.split(".")
            if label in options or not isinstance(label, str) or label != label_of(get(spec, steps)):
                put(spec, steps, _copied(options.get(label, label)))
        return spec

    def present(self, assignment: Assignment, path: str) -> bool:
        """Return whether the path exists, and is active, under the choices made so far."""
        return find_field(self.root, self.apply(assignment), path.split("."), self.resolver) is not None

    def context(self, path: str) -> Assignment:
        """Return the first parent choices of a dimension under which it exists; {} where the base has it."""
        return next((c for c in self.contexts(path) if self.present(c, path)), {})

    def contexts(self, path: str) -> Iterator[Assignment]:
        """Yield assignments under which a path may exist: the base, then its parents' choices, then its conditions."""
        yield from self._contexts(path, (path,))

    def _contexts(self, path: str, seen: tuple[str, ...]) -> Iterator[Assignment]:
        steps = path.split(".")
        for above in self._above(path, seen):
            yield above
            deciding = conditions(self.root, self.apply(above), steps, self.resolver)
            for d in self.dimensions:
                if d.path in deciding and d.path not in seen:
                    for context in self._contexts(d.path, (*seen, d.path)):
                        yield from ({**above, **context, d.path: choice} for choice in d.choices)

    def _above(self, path: str, seen: tuple[str, ...]) -> Iterator[Assignment]:
        yield {}
        for d in self.dimensions:
            if path.startswith(f"{d.path}.") and d.path not in seen:
                for context in self._contexts(d.path, (*seen, d.path)):
                    yield from ({**context, d.path: choice} for choice in d.choices)

    def complete(self, assignment: Assignment) -> Assignment:
        """Return the assignment with every dimension that is active under its own choices, and with no other.

        What it does not name stays as in the base, so two ways to say one candidate become one.
        """
        return self._complete(assignment, {})

    def _complete(self, assignment: Assignment, known: dict[Any, tuple[bool, Any]]) -> Assignment:
        """Return the complete assignment. known: what was found of dimensions under the choices before them."""
        chosen: dict[str, Any] = {}
        made: tuple[Any, ...] = ()  # the same, with types: True is no 1
        for d in self.dimensions:
            named = d.path in assignment
            if (found := known.get((d.path, named, made))) is None:
                found = known[d.path, named, made] = self._found(d, chosen, named)
            present, own = found
            if present:
                chosen[d.path] = assignment[d.path] if named else own
                made = (*made, d.path, type(chosen[d.path]), chosen[d.path])
        return chosen

    def _found(self, d: Dimension, chosen: Assignment, named: bool) -> tuple[bool, Any]:
        """Return whether a dimension is active under these choices, and its label in the base where it is not named."""
        spec = self.apply(chosen)
        info = find_field(self.root, spec, d.path.split("."), self.resolver)
        if info is None or named:
            return info is not None, None
        return True, baseline_label(replace(self, base=spec), d.path, info, self.options.get(d.path, {}))

    def proposals(self, design: Design) -> list[Assignment] | None:
        """Return a design's candidates as complete assignments without duplicates; None where a sampler draws them."""
        found = next((proposals for one, proposals in self._listed if one is design), None)
        if found is None:
            found = self._propose(design)
            if found is not None:
                self._listed.append((design, found))
        return None if found is None else list(found)

    def _propose(self, design: Design) -> list[Assignment] | None:
        proposed = design.proposals(self.dimensions)
        if proposed is None:
            return None
        unique: dict[str, Assignment] = {}
        known: dict[Any, tuple[bool, Any]] = {}
        for assignment in (self._complete(one, known) for one in proposed):
            unique.setdefault(json.dumps(assignment, sort_keys=True), assignment)
        return list(unique.values())

    def everything(self, chosen: Assignment | None = None) -> Iterator[Assignment]:
        """Enumerate all complete assignments (the full grid). Raises OverflowError at the first range without steps."""
        choices = dict(chosen or {})
        for d in self.dimensions:
            if d.path in choices or not self.present(choices, d.path):
                continue
            for label in _labels(d):
                yield from self.everything({**choices, d.path: label})
            return
        yield choices

    def admitting(self, proposals: Sequence[Assignment]) -> Space:
        """Return the space with every proposed label that `vary` does not list.

        Such are a base beside the listed choices, and what a component of another family has by itself. They stand
        in the tables and in the ledger, but no design makes a choice of them.
        """
        admitted = {}
        for d in self.dimensions:
            labels = dict.fromkeys(a[d.path] for a in proposals if d.path in a) if d.choices else {}
            listed = {(isinstance(label, bool), label) for label in d.choices}  # 1 is 1.0, and not True
            admitted[d.path] = tuple(label for label in labels if (isinstance(label, bool), label) not in listed)
        space = replace(self, admitted={path: labels for path, labels in admitted.items() if labels})
        space._listed.extend(self._listed)  # labels that are no choices propose nothing
        return space

    def labels(self, dimension: Dimension) -> list[Label]:
        """Return the choices of a dimension, and what is admitted beside them; [] for a range."""
        return [*dimension.choices, *self.admitted.get(dimension.path, ())]

    def suggest(self, trial: optuna.trial.Trial) -> Assignment:
        """Ask Optuna for every dimension that exists under the choices made before it."""
        chosen: dict[str, Any] = {}
        for d in self.dimensions:
            if not self.present(chosen, d.path):
                continue
            if d.choices:
                chosen[d.path] = trial.suggest_categorical(d.path, self.labels(d))
            elif d.integer:
                assert d.low is not None and d.high is not None
                step = 1 if d.step is None else int(d.step)
                chosen[d.path] = trial.suggest_int(d.path, int(d.low), int(d.high), log=d.log, step=step)
            else:
                assert d.low is not None and d.high is not None
                chosen[d.path] = trial.suggest_float(d.path, d.low, d.high, log=d.log, step=d.step)
        return chosen


def _copied(value: Any) -> Any:
    """Copy a spec; plain JSON, which nearly all of it is, in a fifth of the time that `deepcopy` takes."""
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if type(value) is list:
        return [_copied(item) for item in value]
    return value if isinstance(value, str | int | float) or value is None else deepcopy(value)


def _labels(dimension: Dimension) -> Sequence[Label]:
    """Return all values of a dimension. Raises OverflowError where they are a continuous range."""
    if dimension.choices:
        return dimension.choices
    assert dimension.low is not None and dimension.high is not None
    step = dimension.step or (1 if dimension.integer else 0)
    if not step:
        raise OverflowError(f"{dimension.path} takes any number between {dimension.low:g} and {dimension.high:g}")
    count = math.floor((dimension.high - dimension.low) / step + 1e-9) + 1
    if dimension.integer:
        return range(int(dimension.low), int(dimension.low) + count * int(step), int(step))
    return [dimension.low + k * step for k in range(count)]


def label_of(option: Any) -> Label:
    """Return the label of a choice in tables: its name, its value, or `name(field=value)`."""
    if isinstance(option, Mapping):
        fields = ", ".join(f"{k}={label_of(v)}" for k, v in option.items() if k != "type")
        name = str(option.get("type", ""))
        return f"{name}({fields})" if fields else name
    if isinstance(option, bool | int | float | str):
        return option
    if isinstance(option, list | tuple) and option and all(isinstance(o, Mapping) and "type" in o for o in option):
        return " + ".join(str(label_of(part)) for part in option)
    return json.dumps(option)


def labels_of(options: Sequence[Any], base: Any = None) -> dict[Label, Any]:
    """Return the choices by unique labels; fields that all choices of one name share are left out of the label.

    base: what stands in the base, which is told apart too.
    """
    specs = [{"type": o} if isinstance(o, str) else o for o in (*options, base)]
    typed = [spec for spec in specs if isinstance(spec, Mapping) and "type" in spec]
    short: dict[Label, Any] = {}
    for option in options:
        reduced = option
        if isinstance(option, Mapping) and "type" in option:
            alike = [spec for spec in typed if spec["type"] == option["type"]]
            reduced = {k: v for k, v in option.items() if k == "type" or any(k not in o or o[k] != v for o in alike)}
        short[label_of(reduced)] = option
    return short


def baseline_label(space: Space, path: str, info: FieldInfo, labels: Mapping[Label, Any]) -> Label:
    """Return the label of the baseline's value at this path: that of the choice that is equal to it, if there is one.

    A bare name stands for the base's own component of that name, whatever fields the base gives it.
    """
    spec = get(space.base, path.split("."))
    kind = slot_kind(info)
    if kind is None or get_origin(info.annotation) is tuple:
        return label_of(info.get_default(call_default_factory=True) if spec is None else spec)
    if spec is None:
        spec = default_name(info, space.resolver)
    if spec is None:
        return label_of(None)
    if isinstance(spec, str) and (bare := spec.rpartition(":")[2]) in space.resolver.names(kind.kind):
        spec = bare  # a default is known by its distribution too, which nobody wrote
    type_name = spec if isinstance(spec, str) else spec.get("type", default_name(info, space.resolver))
    for name in (type_name, str(type_name).rpartition(":")[2]):
        if name in labels and isinstance(labels[name], str):
            return str(name)
    try:
        digest = create(kind, named_today(info, spec), space.resolver).digest()
        for label, option in labels.items():
            if create(kind, named_today(info, option), space.resolver).digest() == digest:
                return label
    except SpecError:
        pass  # the base or a choice is wrong, which is told where it is composed
    return label_of(spec)
