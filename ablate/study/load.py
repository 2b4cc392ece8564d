"""From a study file to everything that is needed to run it, or to one message that names all that is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.names import Names
from ablate.candidates.objectives import Constraint, Objective
from ablate.candidates.space import Space
from ablate.candidates.trial import TrialSettings
from ablate.candidates.vary import make_space
from ablate.discovery import provenance
from ablate.discovery.catalog import Catalog, Entry, catalog
from ablate.discovery.plugin_files import stored_copy
from ablate.discovery.plugin_sources import unavailable
from ablate.errors import Argument, InputError, Problem, SpecError, did_you_mean
from ablate.errors import Path as Keys
from ablate.io.files import nameable, read_json
from ablate.kinds.data import Data, image_setting
from ablate.kinds.design import Assignment
from ablate.runtime.patient import doing
from ablate.spec.slots import create, fill
from ablate.study.fit import Fit, check_choices
from ablate.study.models import is_model
from ablate.study.override import applied
from ablate.study.schema import Study, constraints_of, objectives_of
from ablate.study.yaml import Document, given, read
from ablate.worker import sources


@dataclass(frozen=True)
class LoadedStudy:
    """A study that was read, completed and found to be in order."""

    study: Study
    document: Document
    catalog: Catalog
    space: Space
    trial_settings: TrialSettings
    root: Path  # the folder from which paths in it go out
    baseline: Assignment  # the base's own labels, at every dimension that it has
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()

    def candidate(self, assignment: Assignment) -> Candidate:
        """The candidate of an assignment. Raises SpecError for what does not fit together."""
        spec = self.space.apply(assignment)
        fit = Fit(self.catalog, self.trial_settings.data, self.trial_settings.setting)
        if self.study.match is None:
            return fit.compose(spec)
        try:
            return self.study.match.apply(spec, self.space.base, fit.setting, self.catalog, fit.compose)
        except SpecError as error:
            told = ", ".join(f"{path}={label}" for path, label in assignment.items())
            problems = [Problem(p.path, f"{told}: {p.message}") for p in error.problems]
            raise SpecError(problems, self.document.where(("match",))) from None

    @cached_property
    def names(self) -> Names:
        """What its candidates are called, wherever they are told of."""
        proposals, space = self.proposals(), self.space
        if proposals is not None:
            return Names.among(proposals, self.baseline)
        listed = {d.path: space.labels(d) for d in space.dimensions if d.choices}
        return Names.of_space(listed, [d.path for d in space.dimensions if not d.choices], self.baseline)

    @cached_property
    def used(self) -> dict[str, Entry]:
        """Every component that a trial of the study can use, by `kind/name`."""
        wholes = (self.study.data, self.study.evaluate, *self.study.probes, *self._representatives())
        return self.catalog.used(part for whole in wholes for _, part in whole.parts())

    def sources(self, candidate: Candidate) -> dict[str, Any]:
        """What the jobs of a candidate carry: the source that they need."""
        settings = self.trial_settings
        wholes = (candidate, settings.data, settings.evaluation, *settings.probes)
        found = sources.hashes_of((part for whole in wholes for _, part in whole.parts()), self.catalog)
        return {"hashes": provenance.SCHEME, "sources": found}

    def _representatives(self) -> Iterator[Candidate]:
        """The base, and candidates that between them hold every choice, whether they go together or not."""
        yield self.study.base
        space, proposals = self.space, self.proposals()
        if proposals is not None:
            yield from map(self.candidate, proposals)
            return
        for d in space.dimensions:
            above = [context for context in space.contexts(d.path) if space.present(context, d.path)]
            for choice in d.choices:
                for context in above:
                    with contextlib.suppress(SpecError):  # a field that this choice has not
                        yield compose(space.apply({**context, d.path: choice}), self.catalog)
                        break

    def proposals(self) -> list[Assignment] | None:
        """All candidates in order, each once and complete; None where the design's sampler finds them."""
        return self.space.proposals(self.study.design)


@doing("reading the study", 6)
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
    document = read(source) if isinstance(source, str | Path) else given(source)
    _is_study(document)
    document = applied(document, profile, overrides)
    problems = _unknown_keys(document)
    root = _root(document)
    found = _catalog(document, plugins, problems).at(root)
    try:
        study = fill(Study, document.data, found)
    except SpecError as error:
        problems = _distinct((*problems, *error.problems))
        problems += _vary_problems(document, found, problems)
        raise _refusal(document, problems) from None
    wrong = [*problems]
    objectives: tuple[Objective, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    try:
        objectives = objectives_of(study, found.names("probe"))
    except SpecError as error:
        wrong.extend(error.problems)
    try:
        constraints = constraints_of(study, found.names("probe"))
    except SpecError as error:
        wrong.extend(error.problems)
    try:
        setting = image_setting(study.data)
    except InputError as error:
        wrong.append(_data_problem(study.data, error))
        raise _refusal(document, wrong) from None
    fit = Fit(found, study.data, setting)
    try:
        wrong.extend(fit.measurement_problems(study.evaluate, study.probes))
        fit.compose(document.data["base"], ("base",))
        space = _space(document.data["base"], _thawed(study.vary, frozen), fit)
        space = check_choices(space, study.design, fit)
    except SpecError as error:
        raise _refusal(document, [*wrong, *error.problems]) from None
    if study.match is not None:
        wrong.extend(study.match.problems(document.data["base"], study.vary, found))
    if wrong:
        raise _refusal(document, wrong)
    baseline = {d.path: d.baseline for d in space.dimensions if d.baseline is not None}
    matched = None if study.match is None else study.match.by
    settings = TrialSettings(study.data, setting, study.budget, study.evaluate, matched, study.probes)
    return LoadedStudy(study, document, found, space, settings, root, baseline, objectives, constraints)


def _is_study(document: Document) -> None:
    """Raise InputError for a file of another sort: one message, instead of one for each key that a study has not."""
    data, where = document.data, None if document.file is None else str(document.file)
    needed = [name for name, info in Study.model_fields.items() if info.is_required()]
    if is_model(document):
        told = "is a model, not a study: `ablate plan` shows its cost; to train it, put it under `base:` of a study"
    elif {"identity", "science", "versions"} <= data.keys():
        told = "is the lock of a study's folder, not a study; the study is study.yaml beside it"
    elif "backbone" in data and not {"study", "data", "base"} & data.keys():
        told = "holds a candidate, not a study: put it under `base:`, beside study, data and budget"
    elif data and not set(data) & set(needed) and not _near(data, needed):
        told = f"is no study: it has none of {', '.join(needed)}"
    else:
        return
    raise InputError(told, where)


def _near(data: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether a key may be a misspelt one of those."""
    return any(get_close_matches(str(key), names, n=1) for key in data)


def _data_problem(data: Data, error: InputError) -> Problem:
    """What is wrong with the data, told at the field that names the file, and with that file."""
    where = error.where or ""
    for field in type(data).model_fields:
        said = getattr(data, field)
        if isinstance(said, str) and said and where.startswith((said, str(Path(said).expanduser()))):
            return Problem(("data", field), f"{where}: {error.message}")
    return Problem(("data",), f"{where}: {error.message}" if where else error.message)


def _unknown_keys(document: Document) -> list[Problem]:
    known = Study.model_fields
    return [
        Problem((key,), f"study has no field {key!r}{did_you_mean(key, known)}")
        for key in document.data
        if key not in known
    ]


def _catalog(document: Document, further: Sequence[str], problems: Sequence[Problem]) -> Catalog:
    """The catalog with the study's own plugins. Raises InputError where one of them cannot be had."""
    wrong = list(problems)
    named = document.data.get("plugins", ())
    folder = document.file.parent if document.file else Path()
    found: dict[str, Keys] = {}
    for i, plugin in enumerate(named if isinstance(named, list | tuple) else ()):
        if not isinstance(plugin, str):
            continue  # reported with the other types
        path = (folder / plugin).resolve()
        if plugin.endswith(".py") and not path.is_file():
            path = stored_copy(folder, path) or path
        if plugin.endswith(".py") and not path.is_file():
            wrong.append(Problem(("plugins", i), f"there is no plugin file {path}{_files_beside(path)}"))
        elif not plugin.endswith(".py") and (reason := unavailable(plugin)) is not None:
            wrong.append(Problem(("plugins", i), reason))
        found[str(path) if plugin.endswith(".py") else plugin] = ("plugins", i)
    if len(wrong) > len(problems):
        raise _refusal(document, wrong)
    for plugin in further:
        nameable(Path(plugin), Argument("plugins"))
        path = Path(plugin).resolve()
        if plugin.endswith(".py") and not path.is_file():
            raise InputError(f"there is no plugin file {path}{_files_beside(path)}", Argument("plugins", plugin))
        if not plugin.endswith(".py") and (reason := unavailable(plugin)) is not None:
            raise InputError(reason, Argument("plugins", plugin))
        found.setdefault(str(path) if plugin.endswith(".py") else plugin, ())
    made = catalog(tuple(found), fresh=True)
    for broken in made.broken:
        if broken.plugin in found:
            told = f"plugin {broken.module} could not be loaded:\n{broken.traceback.rstrip()}"
            if found[broken.plugin] == ():
                raise InputError(told, Argument("plugins", broken.plugin))
            wrong.append(Problem(found[broken.plugin], told))
    if len(wrong) > len(problems):
        raise _refusal(document, wrong)
    return made


def _root(document: Document) -> Path:
    """The folder from which paths in a study go out: its file's; that of a results folder is its own study's."""
    if document.file is None:
        return Path.cwd()
    folder = document.file.parent.resolve()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        first = read_json(folder / "lock.json")["root"]
        for root in (Path(first["absolute"]), folder / first["relative"]):
            if root.is_dir():
                return root.resolve()
    return folder


def _vary_problems(document: Document, found: Catalog, problems: Sequence[Problem]) -> list[Problem]:
    """What is wrong with `vary`, where data and base are in order and only other keys are not."""
    vary, base = document.data.get("vary"), document.data.get("base")
    if {p.path[:1] for p in problems} & {("base",), ("data",), ("vary",)} or not isinstance(vary, dict) or not base:
        return []
    try:
        data = create(Data, document.data.get("data"), found)
        _space(base, vary, Fit(found, data, image_setting(data)))
    except SpecError as error:
        return list(error.problems)
    except InputError:
        return []
    return []


def _thawed(vary: Mapping[str, Any], frozen: Mapping[str, Any] | None) -> dict[str, Any]:
    """`vary` with what an earlier launch found under `all`: what was installed since then is no choice."""
    return {
        path: frozen[path] if wanted == "all" and frozen and path in frozen else wanted for path, wanted in vary.items()
    }


def _space(base: Mapping[str, Any], vary: Mapping[str, Any], fit: Fit) -> Space:
    try:
        return make_space(Candidate, base, vary, fit.catalog, fit.reason)
    except SpecError as error:
        raise SpecError([Problem(("vary", *p.path), p.message) for p in error.problems]) from None


def _refusal(document: Document, problems: Iterable[Problem]) -> InputError:
    """One message for all problems, in the order of the file."""
    ordered = sorted(_distinct(problems), key=lambda p: document.line(p.path) or 0)
    told = [(document.where(p.path), f"{_show(p.path)}{p.message}") for p in ordered]
    if len(told) == 1:
        return InputError(told[0][1], told[0][0])
    return InputError("", parts=told)


def _show(path: Keys) -> str:
    shown = ""
    for key in path:
        shown += f"[{key}]" if isinstance(key, int) else f".{key}" if shown else key
    return f"{shown}: " if shown else ""


def _distinct(problems: Iterable[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))


def _files_beside(path: Path) -> str:
    names = sorted(p.name for p in path.parent.glob("*.py"))
    near = get_close_matches(path.name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""
