"""The plan of a study: everything that the engine needs to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.candidates.candidate import Candidate
from ablate.candidates.names import Names
from ablate.candidates.objectives import Constraint, Objective
from ablate.candidates.space import Space
from ablate.candidates.total import Total
from ablate.candidates.trial import TrialSettings
from ablate.kinds.design import Assignment, Design
from ablate.kinds.fidelity import Fidelity
from ablate.kinds.seeding import Seeding
from ablate.worker.messages import Record, TeacherOfJob, TrialJob

if TYPE_CHECKING:  # Optuna takes seconds to import
    from ablate.engine.storage import Store


@dataclass(frozen=True)
class Place:
    """A folder with trials, and what all of them share."""

    folder: Path  # of a study
    trial_settings: TrialSettings


@dataclass(frozen=True)
class Plan:
    """Everything that the engine needs to know of a study."""

    name: str
    folder: Path
    space: Space
    design: Design
    trial_settings: TrialSettings
    objectives: tuple[Objective, ...]
    candidate: Callable[[Assignment], Candidate]  # raises SpecError for what does not fit together
    flops: Callable[[Candidate], float]  # of one trial
    plugins: tuple[str, ...]
    device: str  # "cpu" or "cuda"
    cache: Path
    seed: int
    constraints: tuple[Constraint, ...] = ()
    fidelity: Fidelity | None = None  # None: every candidate is trained to the end of its budget
    seeding: Seeding | None = None  # None: every candidate has the seeds of the design
    total: Total | None = None  # budget of the whole study
    during: Mapping[str, str] = field(default_factory=dict)  # {column of a metric: what it is called during training}
    borrow: Callable[[TrialJob], Record | None] = lambda job: None  # a trial that another folder has, brought here
    # Keys of a job that begins with the checkpoint of a shorter training; {} where it begins with nothing.
    prolong: Callable[[TrialJob, Candidate], Mapping[str, Any]] = lambda job, candidate: {}
    earlier: tuple[Place, ...] = ()  # this study's trials of smaller budgets, whose candidates a search takes up again
    # Makes the ledger elsewhere than in the study's folder, of objectives and what their values are called.
    store: Callable[[Sequence[Objective], Sequence[str]], Store] | None = None
    say: Callable[[str], None] = lambda line: None  # at once, from any thread: what the driver itself waits for
    names: Names = field(default_factory=Names)  # what candidates are called
    # Of a candidate and a seed: the trial whose weights it learns from; None without a teacher.
    teacher: Callable[[Candidate, int], TeacherOfJob | None] = lambda candidate, seed: None
    source_keys: Callable[[Candidate], Mapping[str, Any]] = lambda candidate: {}  # keys of a job: the source it needs
    # Builds a candidate's network in another process first; raises an exception where that does not come to an end.
    try_build: Callable[[Candidate], None] = lambda candidate: None
