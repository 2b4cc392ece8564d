"""Reads a study file and checks it: gives a loaded study, or one message with all that is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from ablate.candidates.candidate import Candidate
from ablate.candidates.objectives import Constraint, Objective
from ablate.candidates.space import Space
from ablate.candidates.trial import Budget, TrialSettings
from ablate.candidates.vary import make_space
from ablate.discovery.catalog import Catalog
from ablate.errors import Argument, InputError, Problem, SpecError, did_you_mean
from ablate.io.files import read_json
from ablate.kinds.data import Data, image_setting
from ablate.runtime.patient import doing
from ablate.spec.component import Extent
from ablate.spec.renamed import listening
from ablate.spec.slots import create, fill
from ablate.study.declare import analysis_problems
from ablate.study.estimate import training_pass
from ablate.study.finished import FinishedTrials
from ablate.study.fit import Fit, check_choices
from ablate.study.inherit import inherit_problems
from ablate.study.loaded import LoadedStudy
from ablate.study.override import applied
from ablate.study.places import with_places
from ablate.study.recipes import is_model, with_recipe
from ablate.study.reference import reference_problems
from ablate.study.refusal import refusal
from ablate.study.rungs import rung_problems
from ablate.study.schema import Study, constraints_of, objectives_of, tracker_problems
from ablate.study.seeds import all_seeds, seeding_problems
from ablate.study.study_catalog import study_catalog
from ablate.study.taught import taught_problems
from ablate.study.yaml import Document, document_of, read


def load_study(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    plugins: Sequence[str] = (),
    profile: str | None = None,
    frozen: Mapping[str, Any] | None = None,
) -> LoadedStudy:
    """Read a study file, or take a mapping of the same shape.

    overrides: "PATH=VALUE" with a YAML value, in order. plugins: further plugin files (relative to
    the working directory) or packages. profile: one of the study's own `profiles`. frozen: choices
    of an earlier launch (`lock.frozen_vary`), which stand in for `all`. Imports no torch.

    Raises InputError, with every problem on a line of its own: `file:line: path: what to do`.
    """
    with doing("reading the study", 6), listening() as renamings:
        loaded = _load(source, overrides, plugins, profile, frozen)
    return replace(loaded, renamings=tuple(dict.fromkeys(renamings)))


def _load(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str],
    plugins: Sequence[str],
    profile: str | None,
    frozen: Mapping[str, Any] | None,
) -> LoadedStudy:
    if not isinstance(source, str | Path | Mapping):
        raise InputError(f"a study is a YAML file or a mapping, not a {type(source).__name__}", Argument("study"))
    document = read(source) if isinstance(source, str | Path) else document_of(source)
    _is_study(document)
    document = applied(document, profile, overrides)
    root = _root(document)
    document = with_recipe(document, root)
    problems = _unknown_keys(document)
    catalog, origins = study_catalog(document, plugins, problems)
    catalog = catalog.at(root)
    try:
        study = fill(Study, document.data, catalog)
    except SpecError as error:
        problems += error.problems
        problems += _vary_problems(document, catalog, problems)
        raise refusal(document, with_places(problems, document.data, catalog)) from None
    objectives: tuple[Objective, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    try:
        objectives = objectives_of(study, catalog.names("probe"))
    except SpecError as error:
        problems += error.problems
    try:
        constraints = constraints_of(study, catalog.names("probe"))
    except SpecError as error:
        problems += error.problems
    try:
        setting = image_setting(study.data)
    except InputError as error:
        problems.append(_data_problem(study.data, error))
        raise refusal(document, problems) from None
    problems += rung_problems(study, objectives, constraints)
    fit = Fit(catalog, study.data, setting, study.budget, FinishedTrials(root, all_seeds(study)))
    try:
        problems += fit.measurement_problems(study.evaluate, study.probes)
        base = fit.compose(document.data["base"], ("base",))
        fit = replace(fit, baseline=base)
        space = _space(document.data["base"], _with_frozen(study.vary, frozen), fit)
        space = check_choices(space, study.design, fit)
    except SpecError as error:
        raise refusal(document, [*problems, *error.problems]) from None
    study = study.model_copy(update={"base": base})  # with the identity of a teacher, where it has one
    problems += seeding_problems(study, objectives, space)
    problems += reference_problems(study, objectives) if objectives else []
    problems += analysis_problems(study)
    problems += tracker_problems(study)
    if study.match is not None:
        problems += study.match.problems(document.data["base"], study.vary, catalog)
    if problems:
        raise refusal(document, problems)
    baseline = {d.path: d.baseline for d in space.dimensions if d.baseline is not None}
    matched = None if study.match is None else study.match.by
    settings = TrialSettings(study.data, setting, study.budget, study.evaluation, matched, study.probes, training_pass)
    loaded = LoadedStudy(study, document, catalog, space, settings, fit, root, baseline, objectives, constraints)
    loaded = replace(loaded, origins=origins)
    if problems := [*taught_problems(loaded), *inherit_problems(loaded)]:
        raise refusal(document, problems)
    return loaded


def _is_study(document: Document) -> None:
    """Raise InputError for a file of another sort: one message, instead of one for each key that a study has not."""
    data = document.data
    needed = [name for name, info in Study.model_fields.items() if info.is_required() and not _is_extent(info)]
    if is_model(document):
        model = "NAME" if document.file is None else document.file.stem
        problem = (
            f"is a model, not a study: `ablate plan` shows its cost; to train it, say base: {{model: {model}}} in one"
        )
    elif {"identity", "science", "versions"} <= data.keys():
        problem = "is the lock of a study's folder, not a study; the study is study.yaml beside it"
    elif "backbone" in data and not {"study", "data", "base"} & data.keys():
        problem = "holds a candidate, not a study: put it under `base:`, beside study, data and budget"
    elif data and not set(data) & set(needed) and not _near(data, needed):
        problem = f"is no study: it has none of {', '.join(needed)}"
    else:
        return
    raise InputError(problem, None if document.file is None else str(document.file))


def _is_extent(info: FieldInfo) -> bool:
    return any(isinstance(meta, Extent) for meta in info.metadata)


def _near(data: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Return whether a key may be a misspelling of one of those names."""
    return any(get_close_matches(str(key), names, n=1) for key in data)


def _data_problem(data: Data, error: InputError) -> Problem:
    """Return the problem of the data, at the field that names the file, and with that file."""
    where = error.where or ""
    for field in type(data).model_fields:
        value = getattr(data, field)
        if isinstance(value, str) and value and where.startswith(_spellings(data, value)):
            return Problem(("data", field), f"{where}: {error.message}")
    return Problem(("data",), f"{where}: {error.message}" if where else error.message)


def _spellings(data: Data, path: str) -> tuple[str, ...]:
    """Return a path as the study has it, and as the file system does."""
    try:
        return path, str(Path(path).expanduser()), str(data.located(path))
    except InputError:  # only the working directory holds it; such an error names the path as the study has it
        return path, str(Path(path).expanduser())


def _unknown_keys(document: Document) -> list[Problem]:
    fields = Study.model_fields
    return [
        Problem((key,), f"study has no field {key!r}{did_you_mean(key, fields)}")
        for key in document.data
        if key not in fields
    ]


def _root(document: Document) -> Path:
    """Return the folder to which paths in a study are relative: its file's; of a results folder, that in its lock."""
    if document.file is None:
        return Path.cwd()
    folder = document.file.parent.resolve()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        locked = read_json(folder / "lock.json")["root"]
        for root in (Path(locked["absolute"]), folder / locked["relative"]):
            if root.is_dir():
                return root.resolve()
    return folder


def _vary_problems(document: Document, catalog: Catalog, problems: Sequence[Problem]) -> list[Problem]:
    """Return what is wrong with `vary`, where data and base are in order and only other keys are not."""
    vary, base = document.data.get("vary"), document.data.get("base")
    if {p.path[:1] for p in problems} & {("base",), ("data",), ("vary",)} or not isinstance(vary, dict) or not base:
        return []
    try:
        data = create(Data, document.data.get("data"), catalog)
        trials = FinishedTrials(catalog.root or Path.cwd(), range(1))
        _space(base, vary, Fit(catalog, data, image_setting(data), Budget(images=1), trials))
    except SpecError as error:
        return list(error.problems)
    except InputError:
        return []
    return []


def _with_frozen(vary: Mapping[str, Any], frozen: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `vary` with the choices of an earlier launch for `all`: what was installed since then is no choice."""
    return {
        path: frozen[path] if choices == "all" and frozen and path in frozen else choices
        for path, choices in vary.items()
    }


def _space(base: Mapping[str, Any], vary: Mapping[str, Any], fit: Fit) -> Space:
    try:
        return make_space(Candidate, base, vary, fit.catalog, fit.reason)
    except SpecError as error:
        raise SpecError([Problem(("vary", *p.path), p.message) for p in error.problems]) from None
