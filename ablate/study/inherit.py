"""Searches whose candidates begin with the trained weights of their parents: what they go together with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ablate.errors import InputError, Problem, SpecError
from ablate.kinds.executor import Executor
from ablate.kinds.start import DIGITS, PARENT, START, apart_from_parent
from ablate.study import lock
from ablate.study.loaded import LoadedStudy

EXAMPLE = PARENT + "0" * DIGITS


def inherit_problems(loaded: LoadedStudy) -> list[Problem]:
    """Return why candidates of this study cannot inherit, or why the study names a parent; [] where all is well."""
    return list(_named_parents(loaded)) or list(_problems(loaded) if loaded.study.design.inherits else ())


def check(loaded: LoadedStudy, folder: Path, executor: Executor, in_store: bool) -> None:
    """Raise InputError where a study inherits, and has no weights to inherit in this folder with this executor."""
    if not loaded.study.design.inherits:
        return
    if not executor.measures:
        raise InputError(
            "what it gives was not trained here, and has no weights to inherit; say inherit: false in the design",
            f"executor {executor.name!r}",
        )
    if in_store:
        raise InputError("candidates inherit from trials whose folders their workers share: give a folder with --out")
    if lock.grows(folder, loaded):
        raise InputError(
            "its candidates have inherited from trials of the smaller budget, which the larger one does not have: give "
            "another folder with --out",
            str(folder),
        )


def _named_parents(loaded: LoadedStudy) -> Iterator[Problem]:
    message = "only a search that inherits gives its candidates parents; say scratch, baseline, {trial: …} or {file: …}"
    if loaded.study.base.start.of == "parent":
        yield Problem(("base", START), message)
    options = loaded.space.options.get(START, {})
    if any(apart_from_parent({START: label})[1] for label in options):
        yield Problem(("vary", START), message)


def _problems(loaded: LoadedStudy) -> Iterator[Problem]:
    study = loaded.study
    where = ("design",)
    if study.base.start.of != "scratch":
        yield Problem(("base", START), "children of the search begin with their parents' weights; leave start out")
    if any(d.path.partition(".")[0] == START for d in loaded.space.dimensions):
        yield Problem(("vary", START), "children of the search begin with their parents' weights; do not vary start")
    if study.fidelity.rungs():
        message = "pauses candidates, whose children would begin with the weights of half a training; leave it out"
        yield Problem(("fidelity",), f"fidelity {study.fidelity.name!r} {message}, or say inherit: false")
    if study.seeding.looks(study.design.seeds) is not None:
        message = "adds seeds to one candidate, and not to its parent; leave it out"
        yield Problem(("seeding",), f"seeding {study.seeding.name!r} {message}, or say inherit: false")
    try:
        loaded.candidate({**loaded.baseline, START: EXAMPLE})
    except SpecError as error:
        yield Problem(where, f"a child of the baseline cannot inherit from it: {error.problems[0].message}")
