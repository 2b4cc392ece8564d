"""Early validation: whether components go together, for the baseline, each choice of the search space (`vary`), and
each candidate of a design that lists its candidates (full factorial, one factor at a time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate.candidates.candidate import Candidate, compose, misfits
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.space import Space
from ablate.candidates.trial import Budget
from ablate.discovery.catalog import Catalog
from ablate.errors import InputError, Path, Problem, SpecError
from ablate.kinds.data import Data
from ablate.kinds.design import Assignment, Design, Dimension
from ablate.kinds.probe import Probe
from ablate.kinds.start import Start
from ablate.spec.component import InputSpec
from ablate.spec.slots import SlotFiller, key_of
from ablate.study.finished import FinishedTrials, from_file

REMEMBERED = 20_000  # candidates, at the most
MOST_PROBLEMS = 8  # of many candidates that fail, as in a large grid


@dataclass(frozen=True)
class _Known:
    """What was composed for a study: the components that candidates share, and candidates by their specs."""

    filler: SlotFiller
    candidates: dict[str, Candidate] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """Composes candidates for one study's data."""

    catalog: Catalog
    data: Data
    setting: InputSpec
    budget: Budget
    finished: FinishedTrials  # of other studies, from which candidates learn
    baseline: Candidate | None = None  # of the study, from which others may start; None: it is not known yet
    _known: _Known = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", _Known(SlotFiller(self.catalog, remember=True)))

    def compose(self, spec: Mapping[str, Any], path: Path = ()) -> Candidate:
        """Compose a candidate. Raises SpecError for wrong fields, and for components that do not go together.

        Also where it learns from a trial of another study that cannot teach it.
        """
        known, key = self._known.candidates, None if path else key_of(spec)
        if key is not None and (before := known.get(key)) is not None:
            return before
        candidate = self._composed(spec, path)
        if key is not None:
            if len(known) >= REMEMBERED:
                known.clear()
            known[key] = candidate
        return candidate

    def _composed(self, spec: Mapping[str, Any], path: Path) -> Candidate:
        candidate = compose(spec, self.catalog, path, self._known.filler)
        problems = misfits(candidate, self.data, self.setting, path, withheld=self._withheld())
        if problems:
            raise SpecError(problems)
        return self._started(self.finished.resolved(candidate, self, path), path)

    def _started(self, candidate: Candidate, path: Path) -> Candidate:
        """Return the candidate with what is known of the network that it starts from: its identity, and its backbone.

        Raises SpecError where there is no such network.
        """
        start, where = candidate.start, (*path, "start")
        if start.of in ("scratch", "parent"):  # which candidate that is, who searches knows
            return candidate
        try:
            if start.of == "baseline":
                found = self._of_baseline()
            elif start.file is not None:
                found = from_file(start, self.finished.root)
            else:
                found = self.finished.start(start, self)
        except InputError as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError(
                [Problem(where, f"{error.where}: {error.message}" if error.where else error.message)]
            ) from None
        return candidate.model_copy(update={"start": found})

    def _of_baseline(self) -> Start:
        base = self.baseline
        if base is None:
            raise InputError(
                "the baseline cannot start from itself: say start: baseline in `vary`, for other candidates"
            )
        return Start(of="baseline", identity=base.digest(), backbone=base.backbone)

    def _withheld(self) -> dict[str, str]:
        """Return what a training cannot have whose length in images is not known before it ends."""
        if self.budget.minutes is None:
            return {}
        return {"snapshots": "a training of so many minutes keeps its only one at its end; say budget: {images: …}"}

    def reason(self, spec: Mapping[str, Any]) -> str | None:
        """Return why a candidate cannot work; None where it can."""
        try:
            self.compose(spec)
        except SpecError as error:
            return "; ".join(map(str, error.problems))
        return None

    def measurement_problems(self, evaluation: Evaluation, probes: Sequence[Probe] = ()) -> list[Problem]:
        """Return why these data cannot be loaded, cannot be measured so, or cannot be observed by a probe."""
        problems = []
        parts = [*self.data.parts(("data",)), *evaluation.parts(("evaluate",))]
        settings = self._settings(evaluation)
        parts += [part for i, probe in enumerate(probes) for part in probe.parts(("probes", i))]
        provided = frozenset[str]().union(*(part.provides() for _, part in parts))
        if "latents" not in provided:
            provided |= {"pictures"}  # the images themselves
        for path, part in parts:
            reason = part.refuse(settings.get(part.kind, self.setting))
            if reason is not None:
                problems.append(Problem(path, f"{part.kind} {part.name!r}: {reason}"))
            for capability, why in part.requires().items():
                if capability not in provided:
                    message = f"{part.kind} {part.name!r} needs {capability!r}, which nothing here provides: {why}"
                    problems.append(Problem(path, message))
            for capability, why in part.excludes().items():
                if capability in provided:
                    message = f"{part.kind} {part.name!r} does not go with {capability!r}: {why}"
                    problems.append(Problem(path, message))
        if evaluation.labels != "balanced" and self.setting.conditions:
            why = "samples are drawn for the conditions of pictures of the reference, and for their classes"
            problems.append(Problem(("evaluate", "labels"), f"{why}; leave labels out"))
        return problems

    def _settings(self, evaluation: Evaluation) -> dict[str, InputSpec]:
        """Return {kind: input spec} of the kinds that see images where the network sees latents."""
        autoencoder = evaluation.autoencoder
        if autoencoder is None or autoencoder.refuse(self.setting) is not None:
            return {}
        return dict.fromkeys(("metric", "features"), autoencoder.pixels(self.setting))


def check_choices(space: Space, design: Design, fit: Fit) -> Space:
    """Return the space, with every label that the design proposes.

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
            message = "no candidate of this design has it: the component that has this field is chosen by none"
            problems.append(Problem(("vary", d.path), message))
        for i, label in enumerate(_labels(d)):
            if proposals is None or not any(p.get(d.path) == label for p in proposals):
                place = ("vary", d.path, i if d.choices else ("low", "high")[i])
                problems.extend(_choice_problems(space, d.path, label, fit, place))
    for assignment in proposals or ():
        problems.extend(_candidate_problems(space, assignment, fit))
    if problems:
        raise SpecError(_shortened(problems))
    return space if proposals is None else space.admitting(proposals)


def _choice_problems(space: Space, path: str, label: Any, fit: Fit, place: Path) -> list[Problem]:
    """Return why a choice does not work under the first choices above it; nothing where it works under others."""
    first: list[Problem] | None = None
    for above in space.contexts(path):
        if not space.present(above, path):
            continue
        problems = _problems(space, {**above, path: label}, fit, place, None)
        if not problems:
            return []
        first = problems if first is None else first
    return first or []


def _labels(dimension: Dimension) -> Sequence[Any]:
    """Return the choices; of a range its two ends."""
    if dimension.choices:
        return dimension.choices
    number = int if dimension.integer else float
    return [number(end) for end in (dimension.low, dimension.high) if end is not None]


def _problems(space: Space, assignment: Assignment, fit: Fit, place: Path, name: str | None) -> list[Problem]:
    """Return why a candidate does not work, at the place of a choice. name: the candidate's, where it says more."""
    try:
        fit.compose(space.apply(assignment))
    except SpecError as error:
        own = (place[1], f"{place[1]}.type") if place else ()
        problems = [(".".join(map(str, p.path)), p.message) for p in error.problems]
        messages = [message if not path or path in own else f"{path}: {message}" for path, message in problems]
        return [Problem(place, f"{name}: {message}" if name else message) for message in messages]
    return []


def _candidate_problems(space: Space, assignment: Assignment, fit: Fit) -> list[Problem]:
    """Return why one candidate does not work, at the place of the last of its choices that is not the base's."""
    moved = [d for d in space.dimensions if d.path in assignment and assignment[d.path] != d.baseline]
    if not moved:
        return _problems(space, assignment, fit, (), "the baseline")
    last, label = moved[-1], assignment[moved[-1].path]
    place: Path = ("vary", last.path)
    if label in last.choices:
        place = (*place, last.choices.index(label))
    name = " with ".join(f"{d.path}={assignment[d.path]}" for d in moved)
    return _problems(space, assignment, fit, place, name if len(moved) > 1 else None)


def _shortened(problems: Sequence[Problem]) -> list[Problem]:
    """Return the first of many problems, and how many more there are."""
    distinct = list(dict.fromkeys(problems))
    if len(distinct) <= MOST_PROBLEMS:
        return distinct
    return [*distinct[:MOST_PROBLEMS], Problem((), f"and {len(distinct) - MOST_PROBLEMS} more candidates do not work")]
