"""The request of `ablate evaluate`: the grid of solvers, guidance, averages (EMA) and metrics, trial by trial."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ablate.candidates.candidate import Candidate, compose, misfits
from ablate.candidates.evaluation import Evaluation, Reference
from ablate.discovery.catalog import Catalog, catalog_of
from ablate.errors import Argument, InputError, SpecError
from ablate.kinds.data import Data, image_setting
from ablate.kinds.guidance import Drops
from ablate.kinds.solver import Solver
from ablate.spec.component import InputSpec
from ablate.spec.fields import find_field, put, why_not
from ablate.spec.slots import create, fill
from ablate.study.yaml import value
from ablate.worker.messages import Ways


@dataclass(frozen=True)
class Request:
    """How every trial is to be measured again; what is left out stays as the study has it."""

    metrics: Sequence[str] = ()  # names, or mappings in YAML
    samples: int | None = None
    nfe: Sequence[int] = ()
    averages: Sequence[str | float] = ()  # labels, or relative lengths to rebuild
    reference: str | None = None  # which of the reference images: "all", "even" or "odd"
    settings: Sequence[str] = ()  # "solver.x=VALUE" or "guidance.x=VALUE"; a list is one after the other


def ways_of(job: Mapping[str, Any], evaluate: Mapping[str, Any], request: Request) -> Iterator[Ways]:
    """Yield the ways in which a trial is measured, one for each combination of a request's values.

    evaluate: of the study. Raises InputError for what does not fit together.
    """
    catalog = catalog_of(job)
    evaluation = _evaluation(evaluate, request, catalog)
    data = create(Data, job["data"], catalog)
    trained, setting = compose(job["candidate"], catalog), image_setting(data)
    for spec in _specs(job["candidate"], request, catalog):
        try:
            candidate = compose(spec, catalog)
            problems = misfits(candidate, data, setting)
            if problems:
                raise SpecError(problems)
        except SpecError as error:
            raise InputError(f"{error.message} (trial {job['trial']})", Argument("settings")) from None
        if (reason := _untrained(candidate.drops(), trained.drops(), setting)) is not None:
            raise InputError(reason, Argument("settings"))
        if candidate.sibling(setting) != trained.sibling(setting):
            raise InputError(
                "the network that guidance trains beside belongs to training, and cannot be changed",
                Argument("settings"),
            )
        for nfe in request.nfe or (None,):
            solver = candidate.solver if nfe is None else _with_nfe(candidate.solver, nfe, catalog)
            yield {
                "evaluation": evaluation.spec(),
                "solver": solver.spec(),
                "guidance": candidate.guidance.spec(),
                "averages": list(request.averages) or None,
            }


def _untrained(asked: Drops, given: Drops, setting: InputSpec) -> str | None:
    """Return why a network that was trained for one guidance cannot be sampled with another; None where it can."""
    if asked[:2] != given[:2]:
        return "the share of labels that are dropped belongs to training, and cannot be changed"
    every = {"class", *(spec.name for spec in setting.conditions)}
    without, dropped = (every if drops.names is None else set(drops.names) for drops in (asked, given))
    if without == dropped or not (given.together or given.each) or (given.each and without < dropped):
        return None
    names = ", ".join(sorted(without))
    return f"the network was not trained to do without {names} alone; train it with drop_each above 0"


def _evaluation(evaluate: Mapping[str, Any], request: Request, catalog: Catalog) -> Evaluation:
    spec = {**evaluate, "previews": 0}
    if request.metrics:
        spec["metrics"] = [value(text, Argument("metrics")) for text in request.metrics]
    if request.samples is not None:
        spec["samples"] = request.samples
    if request.reference is not None:
        if request.reference not in get_args(Reference):
            raise InputError(
                f"expected one of {', '.join(get_args(Reference))}, not {request.reference!r}", Argument("reference")
            )
        spec["reference"] = request.reference
    try:
        return fill(Evaluation, spec, catalog)
    except SpecError as error:
        raise InputError(error.message, Argument("metrics" if request.metrics else "samples")) from None


def _specs(candidate: Mapping[str, Any], request: Request, catalog: Catalog) -> Iterator[dict[str, Any]]:
    """Yield the candidate's spec under every combination of the settings."""
    settings: list[list[tuple[list[str], Any]]] = []  # of each setting, its values with their path
    for text in request.settings:
        path, separator, yaml = text.partition("=")
        keys = path.strip().split(".")
        if not separator or keys[0] not in ("solver", "guidance") or (keys == ["guidance"]):
            raise InputError(
                "expected solver=…, solver.FIELD=… or guidance.FIELD=…: all else is training", Argument("settings")
            )
        if len(keys) > 1 and find_field(Candidate, candidate, keys, catalog) is None:
            raise InputError(why_not(Candidate, candidate, keys, catalog), Argument("settings", text))
        parsed = value(yaml, Argument("settings", text))
        settings.append([(keys, item) for item in (parsed if isinstance(parsed, list) else [parsed])])
    for combination in itertools.product(*settings):
        spec = {**candidate}
        for keys, item in combination:
            put(spec, keys, item)
        yield spec


def _with_nfe(solver: Solver, nfe: int, catalog: Catalog) -> Solver:
    """Return the same solver with as many steps as take so many evaluations (NFE)."""
    solvers: dict[int, Solver] = {}  # by NFE
    for steps in range(1, nfe + 1):
        try:
            changed = create(Solver, {**solver.spec(), "steps": steps}, catalog)
        except SpecError:
            continue
        solvers[changed.nfe()] = changed
        if changed.nfe() >= nfe:
            break
    if nfe not in solvers:
        nearest = " or ".join(map(str, sorted(solvers, key=lambda n: abs(n - nfe))[:2])) or "none"
        raise InputError(
            f"solver {solver.name!r} cannot take exactly {nfe} evaluations; it can take {nearest}", Argument("nfe")
        )
    return solvers[nfe]
