"""Candidates that learn from others: whether their teachers are in the study, and which trial each of them needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ablate.candidates.candidate import Candidate
from ablate.candidates.trial import trial_id
from ablate.errors import InputError, Problem, SpecError
from ablate.kinds.design import Assignment
from ablate.kinds.teacher import TaughtObjective, TeacherTrial
from ablate.study.device import assignments
from ablate.study.loaded import LoadedStudy
from ablate.worker import teachers
from ablate.worker.messages import TeacherOfJob


def taught_problems(loaded: LoadedStudy) -> list[Problem]:
    """Return why candidates cannot have their teachers in this study; [] where they can, or need none here."""
    students = [(a, teacher) for a, _, teacher in _students(loaded) if isinstance(teacher, Candidate)]
    started = any(candidate.start.of == "baseline" for candidate in _started(loaded))
    return list(_problems(loaded, students)) if students or started else []


def teacher_of(loaded: LoadedStudy, folder: Path, candidate: Candidate, seed: int) -> TeacherOfJob | None:
    """Return the trial that a candidate of this study learns from with a seed; None where it has no teacher.

    folder: the study's own.
    """
    start = candidate.start
    if start.of in ("baseline", "parent") or start.trial is not None:
        if start.of == "parent":
            trial = folder / "trials" / trial_id(str(start.identity), seed)
        elif start.trial is None:
            trial = folder / "trials" / trial_id(loaded.trial_settings.digest(loaded.study.base), seed)
        else:
            trial = loaded.fit.finished.folder(start.trial, seed)
        weights = teachers.weights_hash(trial)
        return {"trial": trial.name, "folder": str(trial), "weights": weights, "start": True}
    teacher = candidate.teacher(loaded.catalog)
    if teacher is None:
        return None
    if isinstance(teacher, TeacherTrial):
        trial = loaded.fit.finished.folder(teacher, seed)
    else:
        trial = folder / "trials" / trial_id(loaded.trial_settings.digest(teacher), seed)
    return {"trial": trial.name, "folder": str(trial), "weights": teachers.weights_hash(trial)}


def identities(loaded: LoadedStudy) -> list[str]:
    """Return the identities of all teachers of other studies, for the lock."""
    found = {t.identity for _, _, t in _students(loaded) if isinstance(t, TeacherTrial) and t.identity is not None}
    started = {c.start.identity for c in _started(loaded) if c.start.of != "baseline" and c.start.identity is not None}
    return sorted(found | started)


def check_identities(folder: Path, then: object, loaded: LoadedStudy) -> None:
    """Raise InputError where a teacher of another study is another network than when the folder was begun."""
    gone = set(then if isinstance(then, list) else ()) - set(identities(loaded))
    if gone:
        words = ", ".join(sorted(identity[: teachers.DIGITS] for identity in gone))
        raise InputError(
            f"its candidates learn from another network than when it was begun (identity {words}): bring that trial "
            "back, or give another folder with --out",
            str(folder),
        )


def check_data(loaded: LoadedStudy, data_hash: str | None) -> None:
    """Raise InputError where a teacher of another study was trained on other images than those of today."""
    for trial, then in loaded.fit.finished.trained_on.items():
        if None not in (then, data_hash) and then != data_hash:
            hashes = f"{str(then)[: teachers.DIGITS]} there, {str(data_hash)[: teachers.DIGITS]} here"
            raise InputError(f"this trial was trained on other data, and cannot teach: {hashes}", trial)


def describe_taught(loaded: LoadedStudy) -> list[str]:
    """Return lines about who learns from whom; none where nobody does."""
    taught = [teacher for _, _, teacher in _students(loaded)]
    within = sum(isinstance(teacher, Candidate) for teacher in taught)
    lines = [f"{within} candidates learn from others of this study, and wait for them"] if within else []
    from_baseline = sum(candidate.start.of == "baseline" for candidate in _started(loaded))
    lines += (
        [f"{from_baseline} candidates begin with the weights of the baseline, and wait for it"] if from_baseline else []
    )
    trials = {t.study: t for t in taught if isinstance(t, TeacherTrial)}
    for study, t in trials.items():
        identity = str(t.identity)[: teachers.DIGITS]
        lines.append(f"candidates learn from {t.candidate or 'the one'} of {study}, seed {t.seed} ({identity})")
    return lines


def _students(loaded: LoadedStudy) -> Iterator[tuple[Assignment, Candidate, Candidate | TeacherTrial]]:
    """Yield each candidate with a teacher, and the teacher."""
    varied = any(d.path.partition(".")[0] == "objective" for d in loaded.space.dimensions)
    if not varied and not isinstance(loaded.study.base.objective, TaughtObjective):
        return
    for assignment in assignments(loaded):
        with contextlib.suppress(SpecError):  # a choice that works beside others alone
            candidate = loaded.candidate(assignment)
            teacher = candidate.teacher(loaded.catalog)
            if teacher is not None:
                yield assignment, candidate, teacher


def _started(loaded: LoadedStudy) -> Iterator[Candidate]:
    """Yield each candidate that does not begin with new weights."""
    varied = any(d.path.partition(".")[0] == "start" for d in loaded.space.dimensions)
    if varied or loaded.study.base.start.of != "scratch":
        for assignment in assignments(loaded):
            with contextlib.suppress(SpecError):  # a choice that works beside others alone
                candidate = loaded.candidate(assignment)
                if candidate.start.of != "scratch":
                    yield candidate


def _problems(loaded: LoadedStudy, students: list[tuple[Assignment, Candidate]]) -> Iterator[Problem]:
    study, proposals = loaded.study, loaded.proposals()
    other = "name a finished trial of another study (`trial` of the objective, or of start)"
    if proposals is None:
        message = (
            f"finds its candidates by itself, and the teachers of some have to be among them; list them, or {other}"
        )
        yield Problem(("design",), f"design {study.design.name!r} {message}")
        return
    if study.fidelity.rungs():
        message = "pauses candidates, and others have to learn from them when they are complete; leave it out, or"
        yield Problem(("fidelity",), f"fidelity {study.fidelity.name!r} {message} {other}")
    if study.seeding.looks(study.design.seeds) is not None:
        message = "adds seeds to one candidate, and not to the one that it learns from; leave it out, or"
        yield Problem(("seeding",), f"seeding {study.seeding.name!r} {message} {other}")
    tried = {loaded.trial_settings.digest(loaded.candidate(assignment)) for assignment in proposals}
    for assignment, teacher in students:
        if loaded.trial_settings.digest(teacher) not in tried:
            wanted = {key: value for key, value in teacher.objective.active().items() if key != "trial"}
            words = ", ".join(f"{key}: {value}" for key, value in wanted.items())
            message = (
                f"{loaded.names(assignment)} learns from the same candidate with objective {{{words}}}, which the "
            )
            message += f"study does not try: add it to `vary`, or {other}"
            yield Problem(("vary",) if study.vary else ("base",), message)
