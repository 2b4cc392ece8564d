"""The keys of a study file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ablate.candidate import Candidate
from ablate.component import Config, Extent, slot
from ablate.errors import Problem, SpecError, did_you_mean
from ablate.kinds.data import Data
from ablate.kinds.design import Design
from ablate.kinds.executor import Executor
from ablate.study.match import Match
from ablate.trial import Budget, Evaluation, Objective

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


def _folder_name(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        allowed = "letters, digits, '_', '-' and '.', a letter or digit first, at most 100"
        raise ValueError(f"names a folder below results/, so it holds only {allowed}; not {name!r}")
    return name


Name = Annotated[str, AfterValidator(_folder_name), Field(json_schema_extra={"pattern": _NAME})]

# What a trial costs or is trained to: known of every trial, smaller is better.
COSTS = ("gflops", "params", "macs", "seconds", "peak_memory_bytes", "loss")


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
    budget: Budget
    evaluate: Evaluation = Evaluation()
    objectives: tuple[str, ...] = ()  # none: every metric, and gflops
    executor: Annotated[Executor | None, Extent()] = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0  # of the search, not of the trials
    profiles: Annotated[
        dict[Name, dict[str, Any]], Extent()
    ] = {}  # {name: {dotted path: value}}: the same, at another scale

    def active(self) -> dict[str, Any]:
        """What decides; a part that the study does not have is no part of its identity."""
        return {key: value for key, value in super().active().items() if value is not None}


def metric_columns(evaluation: Evaluation) -> dict[str, str]:
    """{name in the study: column}: a metric's own name, or its column where two share that name."""
    names = Counter(metric.name for metric in evaluation.metrics)
    columns = [(metric.name, metric.label(evaluation.samples)) for metric in evaluation.metrics]
    return {(name if names[name] == 1 else column): column for name, column in columns}


def objectives_of(study: Study) -> tuple[Objective, ...]:
    """What candidates are judged by. Raises SpecError for what is neither a metric of the study nor a cost."""
    short = metric_columns(study.evaluate)
    larger = {metric.label(study.evaluate.samples): metric.larger_is_better for metric in study.evaluate.metrics}
    known: Mapping[str, str] = {**{cost: cost for cost in COSTS}, **{c: c for c in short.values()}, **short}
    problems: list[Problem] = []
    found: list[Objective] = []
    for i, name in enumerate(study.objectives or (*(short or ["loss"]), "gflops")):
        if name not in known:
            hint = did_you_mean(name, known)
            problems.append(Problem(("objectives", i), f"{name!r} is neither measured here nor a cost{hint}"))
        elif known[name] in [objective.column for objective in found]:
            problems.append(Problem(("objectives", i), f"{name!r} stands twice"))
        else:
            found.append(Objective(name, known[name], larger.get(known[name], False)))
    if problems:
        raise SpecError(problems)
    return tuple(found)
