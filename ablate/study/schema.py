"""The keys of a study file."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ablate.candidates.candidate import Candidate
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.objectives import RECORDED, Constraint, Objective
from ablate.candidates.total import Total
from ablate.candidates.trial import Budget
from ablate.errors import Problem, SpecError, did_you_mean
from ablate.io import database_url
from ablate.kinds.data import Data
from ablate.kinds.design import Design
from ablate.kinds.executor import Executor
from ablate.kinds.fidelity import Fidelity
from ablate.kinds.probe import Probe
from ablate.kinds.seeding import Seeding
from ablate.kinds.tracker import Tracker
from ablate.spec.component import Config, Extent, slot
from ablate.spec.explain import short
from ablate.statistics.declared import AnalysisPlan
from ablate.study.compute_match import Match

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


def _folder_name(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        allowed = "letters, digits, '_', '-' and '.', a letter or digit first, at most 100"
        raise ValueError(f"names a folder below results/, so it holds only {allowed}; not {short(name)}")
    return name


Name = Annotated[str, AfterValidator(_folder_name), Field(json_schema_extra={"pattern": _NAME})]

DatabaseUrl = Annotated[str, AfterValidator(database_url.checked)]


class Study(Config):
    """A question, the candidates that answer it, and what is done to each of them.

    What only says where it runs, how often, or what it is called (`Extent`) is no part of its identity.
    """

    study: Name  # a folder's name: it cannot lead out of the results
    question: Annotated[str, Extent()] = ""
    plugins: Annotated[tuple[str, ...], Extent()] = ()  # local .py files, beside this file, or packages
    data: Data = slot()
    base: Candidate  # the complete, runnable baseline
    vary: dict[str, Any] = {}  # {dotted path below base: choices, "all", or {low, high, log, step}}
    match: Match | None = None  # candidates of one cost: a size of each is moved until they agree
    design: Design = slot()
    fidelity: Annotated[Fidelity, Extent()] = slot()  # who is trained on, and who is stopped early
    seeding: Annotated[Seeding, Extent()] = slot()  # who gets seeds beyond those of the design
    budget: Budget
    total: Annotated[Total | None, Extent()] = None  # of the whole study; none: all that the design asks for
    reuse: Annotated[tuple[str, ...], Extent()] = ()  # folders of other studies whose trials are taken, not run again
    # Shares of each training's length after which a checkpoint stays for good, beside the last: a training of a larger
    # budget goes on from it where it cannot go on from the end (`decay: wsd`: 1 - cooldown).
    checkpoints: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Extent()] = ()
    evaluate: Evaluation = Evaluation()
    probes: Annotated[tuple[Probe, ...], Extent()] = ()  # what looks on while candidates are trained
    trackers: Annotated[tuple[Tracker, ...], Extent()] = ()  # where trials are logged beside the study's folder
    objectives: tuple[str, ...] = ()  # metrics, costs, probes; none: every metric, and gflops
    constraints: dict[str, Any] | None = None  # {metric, cost or probe: {at_most: value, at_least: value}}
    reference: Annotated[dict[str, Any] | None, Extent()] = (
        None  # {objective: value} behind all candidates worth counting
    )
    analysis: Annotated[AnalysisPlan, Extent(), Field(default_factory=dict, validate_default=True)]  # how they compare
    executor: Annotated[Executor | None, Extent()] = None
    storage: Annotated[DatabaseUrl | None, Extent()] = None  # of the ledger: postgresql://host/database; none: SQLite
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0  # of the search, not of the trials
    profiles: Annotated[
        dict[Name, dict[str, Any]], Extent()
    ] = {}  # {name: {dotted path: value}}: the same, at another scale

    def active(self) -> dict[str, Any]:
        """Return what decides results; a part that the study does not have is no part of its identity.

        Nor is a probe, but for one by which candidates are judged.
        """
        values = {**super().active(), "probes": [probe.active() for probe in self.judging] or None}
        return {key: value for key, value in values.items() if value is not None}

    @property
    def evaluation(self) -> Evaluation:
        """The evaluation of each trial: as `evaluate` says, and at the rungs of the fidelity."""
        shares = {*self.evaluate.at, *self.fidelity.rungs()}
        return self.evaluate.model_copy(update={"at": tuple(sorted(shares))})

    @property
    def judging(self) -> tuple[Probe, ...]:
        """The probes that are objectives or constraints."""
        judged = {*self.objectives, *(self.constraints or ())}
        return tuple(probe for probe in self.probes if probe.name in judged)


def metric_columns(evaluation: Evaluation) -> dict[str, str]:
    """Return {name in the study: column}: a metric's name, or one of its values'; the column where two share it."""
    columns = [pair for metric in evaluation.metrics for pair in metric.columns(evaluation.samples).items()]
    names = Counter(name for name, _ in columns)
    return {(name if names[name] == 1 else column): column for name, column in columns}


def otherwise(evaluation: Evaluation) -> dict[str, str]:
    """Return {canonical column: the one that the value has where the reference has too few pictures for that name}."""
    plain = (metric.columns(evaluation.samples, 0).items() for metric in evaluation.metrics)
    canonical = (metric.columns(evaluation.samples).items() for metric in evaluation.metrics)
    pairs = zip(itertools.chain(*canonical), itertools.chain(*plain), strict=True)
    return {column: other for (_, column), (_, other) in pairs if column != other}


def columns_during(evaluation: Evaluation) -> dict[str, str]:
    """Return {column of a metric: the one that it has at points of the training}, where fewer samples change that."""
    ends = (metric.columns(evaluation.samples).values() for metric in evaluation.metrics)
    points = (metric.columns(evaluation.samples_during).values() for metric in evaluation.metrics)
    pairs = zip(itertools.chain(*ends), itertools.chain(*points), strict=True)
    return {end: point for end, point in pairs if end != point and evaluation.during is not None}


def larger_is_better(study: Study) -> list[str]:
    """Return the columns of metrics, at the end and at points of the training, and the probes that are maximised."""
    evaluation = study.evaluation
    counts = [evaluation.samples, *([evaluation.samples_during] if evaluation.during is not None else [])]
    columns = [
        column
        for metric in study.evaluate.metrics
        if metric.larger_is_better
        for samples in counts
        for references in (None, 0)  # its canonical name, and the one that it has at few pictures
        for column in metric.columns(samples, references).values()
    ]
    return columns + [probe.name for probe in study.probes if probe.larger_is_better]


def objectives_of(study: Study, probes: Collection[str] = ()) -> tuple[Objective, ...]:
    """Return the objectives. Raises SpecError for what is neither a metric or probe of the study nor a cost.

    probes: the names of all that are installed, for the message.
    """
    possible = _possible_objectives(study)
    problems = _probe_problems(study)
    objectives: list[Objective] = []
    for i, name in enumerate(study.objectives or (*(metric_columns(study.evaluate) or ["loss"]), "gflops")):
        if name not in possible:
            problems.append(Problem(("objectives", i), _unknown(name, possible, probes)))
        elif possible[name].column in [objective.column for objective in objectives]:
            problems.append(Problem(("objectives", i), f"{name!r} stands twice"))
        else:
            objectives.append(possible[name])
    if problems:
        raise SpecError(problems)
    return tuple(objectives)


def constraints_of(study: Study, probes: Collection[str] = ()) -> tuple[Constraint, ...]:
    """Return the constraints. Raises SpecError as `objectives_of` does, and for bounds that are none."""
    possible = _possible_objectives(study)
    problems: list[Problem] = []
    constraints: list[Constraint] = []
    for name, bounds in (study.constraints or {}).items():
        wrong = _bound_problems(bounds) if name in possible else [((), _unknown(name, possible, probes))]
        problems += [Problem(("constraints", name, *path), message) for path, message in wrong]
        if not wrong:
            constraints.append(Constraint(possible[name], **{key: float(value) for key, value in bounds.items()}))
    if problems:
        raise SpecError(problems)
    return tuple(constraints)


def _possible_objectives(study: Study) -> dict[str, Objective]:
    """Return all possible objectives, by the names that a study may use."""
    objectives = {cost: Objective(cost, cost) for cost in RECORDED}
    larger = {
        column: metric.larger_is_better
        for metric in study.evaluate.metrics
        for column in metric.columns(study.evaluate.samples).values()
    }
    short, plain = metric_columns(study.evaluate), otherwise(study.evaluate)
    for name, column in (*((c, c) for c in short.values()), *short.items()):
        objectives[name] = Objective(name, column, larger[column], plain.get(column))
    for probe in study.probes:
        objectives.setdefault(probe.name, Objective(probe.name, probe.name, probe.larger_is_better, is_probe=True))
    return objectives


def tracker_problems(study: Study) -> list[Problem]:
    """Return the problems of a tracker that stands twice: everything would be logged twice."""
    specs = [tracker.spec() for tracker in study.trackers]
    return [
        Problem(("trackers", i), f"the tracker {study.trackers[i].name!r} stands twice")
        for i, spec in enumerate(specs)
        if spec in specs[:i]
    ]


def _unknown(name: str, possible: Iterable[str], probes: Collection[str]) -> str:
    if name in probes:
        return f"{name!r} is a probe that this study does not have; add it: probes: [{name}]"
    if name == "nfe":
        return "'nfe' is how a model is sampled: a study is judged by what that costs, sample_gflops"
    return f"{name!r} is neither measured here nor a cost{did_you_mean(name, possible)}"


def _bound_problems(bounds: Any) -> list[tuple[tuple[str, ...], str]]:
    """Return what is wrong with `{at_most: value, at_least: value}`, each with its place in it."""
    words = [field.name for field in fields(Constraint) if field.name != "of"]
    if not isinstance(bounds, Mapping) or not bounds:
        return [((), f"expected a bound, such as {{{words[0]}: 10}}, not {bounds!r}")]
    wrong: list[tuple[tuple[str, ...], str]] = []
    for key, value in bounds.items():
        if key not in words:
            wrong.append(((str(key),), f"a constraint has no bound {key!r}{did_you_mean(str(key), words)}"))
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            wrong.append(((str(key),), f"expected a number, not {value!r}"))
    if not wrong and len(bounds) == len(words) and bounds["at_least"] > bounds["at_most"]:
        wrong.append(((), f"nothing is at least {bounds['at_least']} and at most {bounds['at_most']}"))
    return wrong


def _probe_problems(study: Study) -> list[Problem]:
    """Return the problems of two probes of one name, and of a probe that has the name of something else measured."""
    other_names = {*RECORDED, *(name for pair in metric_columns(study.evaluate).items() for name in pair)}
    names = [probe.name for probe in study.probes]
    problems = []
    for i, name in enumerate(names):
        if name in names[:i]:
            problems.append(Problem(("probes", i), f"the probe {name!r} stands twice"))
        elif name in other_names:
            problems.append(Problem(("probes", i), f"a metric or cost of this study is called {name!r} too"))
    return problems
