"""Early validation: whether components go together, for the baseline, each choice of the search space (`vary`), and
each candidate of a design that lists its candidates (full factorial, one factor at a time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.candidates.candidate import Candidate, compose, misfits
from ablate.candidates.space import Space
from ablate.candidates.trial import Evaluation
from ablate.discovery.catalog import Catalog
from ablate.errors import InputError, Path, Problem, SpecError
from ablate.kinds.data import Data
from ablate.kinds.design import Assignment, Design, Dimension
from ablate.kinds.probe import Probe
from ablate.spec.component import InputSpec

MOST_TOLD = 8  # of many candidates that fail, as in a large grid


@dataclass(frozen=True)
class Fit:
    """Composes candidates for one study's data."""

    catalog: Catalog
    data: Data
    setting: InputSpec

    def compose(self, spec: Mapping[str, Any], path: Path = ()) -> Candidate:
        """The candidate. Raises SpecError for wrong fields, and for components that do not go together."""
        made = compose(spec, self.catalog, path)
        problems = misfits(made, self.data, self.setting, path)
        if problems:
            raise SpecError(problems)
        return made

    def reason(self, spec: Mapping[str, Any]) -> str | None:
        """Why a candidate cannot work, or None."""
        try:
            self.compose(spec)
        except SpecError as error:
            return "; ".join(map(str, error.problems))
        return None

    def measurement_problems(self, evaluation: Evaluation, probes: Sequence[Probe] = ()) -> list[Problem]:
        """Why these data cannot be loaded, cannot be measured so, or cannot be looked at by a probe."""
        problems = []
        parts = [*self.data.parts(("data",)), *evaluation.parts(("evaluate",))]
        settings = self._settings(evaluation)
        parts += [part for i, probe in enumerate(probes) for part in probe.parts(("probes", i))]
        brought = frozenset[str]().union(*(part.provides() for _, part in parts))
        for path, part in parts:
            reason = part.refuse(settings.get(part.kind, self.setting))
            if reason is not None:
                problems.append(Problem(path, f"{part.kind} {part.name!r}: {reason}"))
            for capability, why in part.requires().items():
                if capability not in brought:
                    message = f"{part.kind} {part.name!r} needs {capability!r}, which nothing here provides: {why}"
                    problems.append(Problem(path, message))
        return problems

    def _settings(self, evaluation: Evaluation) -> dict[str, InputSpec]:
        """{kind: what it sees} of those that see images where the network sees latents."""
        autoencoder = evaluation.autoencoder
        if autoencoder is None or autoencoder.refuse(self.setting) is not None:
            return {}
        return dict.fromkeys(("metric", "features"), autoencoder.pixels(self.setting))


def check_choices(space: Space, design: Design, fit: Fit) -> Space:
    """The space, which knows every label that the design proposes.

    Composes each candidate of a finite design, and each choice by itself where none has it. Raises
    SpecError, with paths of the study.
    """
    problems: list[Problem] = []
    try:
        proposals = space.proposals(design)
    except InputError as error:
        first, _, path = (error.where or "").partition(".")
        raise SpecError([Problem(("vary", path) if first == "vary" else ("design",), error.message)]) from None
    for d in space.dimensions:
        if proposals is not None and not any(d.path in p for p in proposals):
            told = "no candidate of this design has it: the component that has this field is chosen by none"
            problems.append(Problem(("vary", d.path), told))
        for i, label in enumerate(_labels(d)):
            if proposals is None or not any(p.get(d.path) == label for p in proposals):
                at = ("vary", d.path, i if d.choices else ("low", "high")[i])
                problems.extend(_anywhere(space, d.path, label, fit, at))
    for assignment in proposals or ():
        problems.extend(_candidate_problems(space, assignment, fit))
    if problems:
        raise SpecError(_shortened(problems))
    return space if proposals is None else space.admitting(proposals)


def _anywhere(space: Space, path: str, label: Any, fit: Fit, at: Path) -> list[Problem]:
    """What keeps a choice from working under the first choices above it; nothing where it works under others."""
    first: list[Problem] | None = None
    for above in space.contexts(path):
        if not space.present(above, path):
            continue
        found = _problems(space, {**above, path: label}, fit, at, None)
        if not found:
            return []
        first = found if first is None else first
    return first or []


def _labels(dimension: Dimension) -> Sequence[Any]:
    """The choices; of a range its two ends."""
    if dimension.choices:
        return dimension.choices
    number = int if dimension.integer else float
    return [number(end) for end in (dimension.low, dimension.high) if end is not None]


def _problems(space: Space, assignment: Assignment, fit: Fit, at: Path, told: str | None) -> list[Problem]:
    """What keeps a candidate from working, told at a choice; `told` says more of it than the place does."""
    try:
        fit.compose(space.apply(assignment))
    except SpecError as error:
        own = (at[1], f"{at[1]}.type") if at else ()
        found = [(".".join(map(str, p.path)), p.message) for p in error.problems]
        plain = [message if path in own else f"{path}: {message}" for path, message in found]
        return [Problem(at, f"{told}: {message}" if told else message) for message in plain]
    return []


def _candidate_problems(space: Space, assignment: Assignment, fit: Fit) -> list[Problem]:
    """What keeps one candidate from working, told at the last of its choices that is not the base's."""
    moved = [d for d in space.dimensions if d.path in assignment and assignment[d.path] != d.baseline]
    if not moved:
        return _problems(space, assignment, fit, (), "the baseline")
    last, label = moved[-1], assignment[moved[-1].path]
    at: Path = ("vary", last.path)
    if label in last.choices:
        at = (*at, last.choices.index(label))
    told = " with ".join(f"{d.path}={assignment[d.path]}" for d in moved)
    return _problems(space, assignment, fit, at, told if len(moved) > 1 else None)


def _shortened(problems: Sequence[Problem]) -> list[Problem]:
    """The first of many, and how many more there are."""
    told = list(dict.fromkeys(problems))
    if len(told) <= MOST_TOLD:
        return told
    return [*told[:MOST_TOLD], Problem((), f"and {len(told) - MOST_TOLD} more candidates do not work")]
