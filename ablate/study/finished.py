"""Finished trials of other studies, from which candidates of this one learn: found, and compared with their students.

Which network teaches is decided when the study is read; it is part of its students' identity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.candidates.candidate import Candidate
from ablate.candidates.names import Names
from ablate.candidates.trial import trial_id
from ablate.errors import InputError, Problem, SpecError, did_you_mean
from ablate.errors import Path as Keys
from ablate.io.files import digest, file_hash
from ablate.io.sealed import DamagedError, read_sealed
from ablate.kinds.adapter import Adapter
from ablate.kinds.backbone import Backbone
from ablate.kinds.start import Start
from ablate.kinds.teacher import TaughtObjective, TeacherTrial
from ablate.spec.slots import create
from ablate.study.comparison import differences_of
from ablate.worker import records, teachers

if TYPE_CHECKING:
    from ablate.study.fit import Fit

NAMED = 8  # candidates that a message names
BASELINE = "baseline"
FEWEST = 6  # digits of a config_hash that name a candidate
UNFINISHED, FAILED = "unfinished", "failed"


@dataclass
class Taught:
    """A candidate of a study's folder: its name, and the state and folder of its trials, by seed."""

    config_hash: str
    name: str
    is_baseline: bool
    trials: dict[int, tuple[str, Path]] = field(default_factory=dict)

    def is_called(self, name: str) -> bool:
        """Return whether this is its name, or the beginning of its config_hash; `baseline` is that of its study."""
        by_hash = len(name) >= FEWEST and self.config_hash.startswith(name)
        return name == self.name or by_hash or (name == BASELINE and self.is_baseline)


@dataclass(frozen=True)
class FinishedTrials:
    """Finds the trials of other studies that teach, and remembers them.

    root: the folder from which paths in the study go out. seeds: those that the study may train. trained_on: is filled
    with what was found.
    """

    root: Path
    seeds: range
    trained_on: dict[str, str | None] = field(default_factory=dict, compare=False)  # {trial: hash of its data}
    _folders: dict[Path, list[Taught]] = field(default_factory=dict, compare=False)

    def resolved(self, candidate: Candidate, fit: Fit, path: Keys = ()) -> Candidate:
        """Return the candidate with its teacher's identity, if that is a trial of another study.

        Raises SpecError where there is no such network, or one that cannot teach this candidate.
        """
        objective = candidate.objective
        if not isinstance(objective, TaughtObjective) or objective.trial is None:
            return candidate
        trial, where = objective.trial, (*path, "objective", "trial")
        try:
            identity = self._identity(trial, candidate, fit, where)
        except InputError as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError([Problem(where, error.message)]) from None
        found = objective.model_copy(update={"trial": trial.model_copy(update={"identity": identity})})
        return candidate.model_copy(update={"objective": found})

    def start(self, start: Start, fit: Fit) -> Start:
        """Return a start from a trial with the identity of that, and with its network.

        Raises InputError where there is none, or one that is not finished or not known here.
        """
        trial = start.trial
        assert trial is not None, "it is one of a trial"
        if start.identity is not None and not self._study(trial).is_dir():
            return start  # what was trained by it goes on; who needs the weights says that they are gone
        taught = self._find(trial)
        seeds = self.seeds if trial.seed == "same" else range(trial.seed, trial.seed + 1)
        if problems := list(_lacks(trial, taught, seeds)):
            raise InputError("; ".join(problems))
        first = taught.trials[seeds[0]][1]
        try:
            spec = records.job_of(first, records.read_valid(first) or {})["candidate"]
        except (FileNotFoundError, DamagedError):
            raise InputError(f"{trial.study}: its job.json is gone or damaged, so its network is not known") from None
        if "adapter" in spec and create(Adapter, spec["adapter"], fit.catalog).freezes:
            raise InputError(
                f"{trial.study}: {taught.name} has an adapter's weights beside its own; start from another"
            )
        identity = taught.config_hash
        if trial.seed != "same":
            identity = digest([identity, teachers.weights_hash(first)])
        if start.identity not in (None, identity):
            raise InputError(f"the network in {trial.study} has the identity {identity}, not the one that is said here")
        known = trial.model_copy(update={"identity": identity})
        backbone = create(Backbone, spec["backbone"], fit.catalog)
        return start.model_copy(update={"trial": known, "identity": identity, "backbone": backbone})

    def folder(self, trial: TeacherTrial, seed: int) -> Path:
        """Return the folder of the trial that teaches the students of a seed; it may be gone."""
        place = self._study(trial)
        seed = seed if trial.seed == "same" else trial.seed
        try:
            return self._find(trial).trials[seed][1]
        except (InputError, KeyError):  # its identity is known, and nothing else
            return place / "trials" / trial_id(str(trial.identity), seed)

    def _identity(self, trial: TeacherTrial, student: Candidate, fit: Fit, where: Keys) -> str:
        if trial.identity is not None and not self._study(trial).is_dir():
            return trial.identity  # what was trained by it goes on; who needs the weights says that they are gone
        taught = self._find(trial)
        seeds = self.seeds if trial.seed == "same" else range(trial.seed, trial.seed + 1)
        if problems := [Problem(where, text) for text in _lacks(trial, taught, seeds)]:
            raise SpecError(problems)
        trials = {seed: taught.trials[seed][1] for seed in seeds}
        first = next(iter(trials.values()))
        if problems := [Problem(where, f"{trial.study}: {text}") for text in _differs(first, student, fit)]:
            raise SpecError(problems)
        for folder in trials.values():
            record = records.read_valid(folder)
            self.trained_on[str(folder)] = None if record is None else record.get("data_hash")
        identity = taught.config_hash
        if trial.seed != "same":
            identity = digest([identity, teachers.weights_hash(first)])
        if trial.identity not in (None, identity):
            raise InputError(f"the network in {trial.study} has the identity {identity}, not the one that is said here")
        return identity

    def _study(self, trial: TeacherTrial) -> Path:
        """Return the folder of that name: below the study file's own, or below the working directory."""
        places = [self.root / trial.study, Path.cwd() / trial.study]
        return next((place for place in places if place.is_dir()), places[0]).absolute()

    def _find(self, trial: TeacherTrial) -> Taught:
        """Return the candidate of that name. Raises InputError where there is none, or several."""
        folder = self._study(trial)
        if folder not in self._folders:
            self._folders[folder] = _candidates(folder, trial.study)
        found, name = self._folders[folder], trial.candidate
        named = [one for one in found if name is None or one.is_called(name)]
        if len(named) == 1:
            return named[0]
        names = [one.name for one in named or found]
        if not named:
            raise InputError(f"{trial.study} has no candidate {name!r}{did_you_mean(str(name), names)}")
        listing = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        raise InputError(f"{trial.study} has several candidates; say which one (`candidate`): {listing}")


def from_file(start: Start, root: Path) -> Start:
    """Return a start from a file with its place and its hash. Raises InputError where there is none."""
    name = str(start.file)
    places = [root / Path(name).expanduser(), Path.cwd() / name]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise InputError("there is no such file of weights", name)
    return start.model_copy(update={"file": str(file.absolute()), "identity": file_hash(file)})


def _candidates(folder: Path, name: str) -> list[Taught]:
    """Return the candidates of a study's folder, by their trials. Raises InputError where it is none."""
    try:
        locked = read_sealed(folder / "lock.json")
    except FileNotFoundError:
        raise InputError(f"{name} is no study's folder: it holds no lock.json") from None
    except DamagedError as error:
        raise InputError(str(error)) from None
    names, baseline = Names.read(locked) or Names(), locked.get("baseline")
    found: dict[str, Taught] = {}
    for trial in sorted(folder.glob("trials/*")):
        record: Mapping[str, Any] | None = records.read_valid(trial)
        state = UNFINISHED if record is None else "replayed" if "replayed" in record else record["state"]
        try:
            job = record or read_sealed(trial / records.JOB)
            own = Taught(job["config_hash"], names(job["choices"]), job["choices"] == baseline)
            taught = found.setdefault(own.config_hash, own)
            state = FAILED if record is None and (trial / "failure.json").is_file() else state
            taught.trials[int(job["seed"])] = (state, trial)
        except (OSError, DamagedError, KeyError):
            continue
    if not found:
        raise InputError(f"{name} has no trials yet")
    return list(found.values())


def _lacks(trial: TeacherTrial, taught: Taught, seeds: range) -> Iterator[str]:
    """Yield why trials of a candidate cannot teach: not there, not finished, or without weights."""
    reasons = {
        UNFINISHED: "is not finished: let its study run to its end",
        FAILED: "failed: there is no network",
        records.DIVERGED: "diverged: it has no weights to teach with",
        "replayed": "was replayed from a table: it has no weights",
    }
    by_reason: dict[str, list[int]] = defaultdict(list)
    for seed in seeds:
        state, folder = taught.trials.get(seed, ("", Path()))
        if not state:
            have = ", ".join(map(str, sorted(taught.trials)))
            by_reason[f"is not there, but seed {have}: train it there too, or name one (`seed`)"].append(seed)
        elif state != records.COMPLETE:
            by_reason[reasons.get(state, reasons[UNFINISHED])].append(seed)
        elif teachers.weights_hash(folder) is None:
            by_reason["has no weights any more: its checkpoint is gone"].append(seed)
    for reason, ones in by_reason.items():
        yield f"{trial.study}: {taught.name}, seed {', '.join(map(str, ones))}, {reason}"


def _differs(trial: Path, student: Candidate, fit: Fit) -> Iterator[str]:
    """Yield what of a finished trial is other than of its student, so that it cannot teach it."""
    record = records.read_valid(trial)
    assert record is not None, "it is complete"
    try:
        job = records.job_of(trial, record)
    except (FileNotFoundError, DamagedError):
        yield "its job is gone or damaged, so it is not known how it was trained"
        return
    yield from differences_of(job, record, student, fit)
