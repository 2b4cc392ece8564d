"""`ablate evaluate`: measure every trial of a study again, for a grid of solvers, guidance and EMAs; no training."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from ablate.candidates.candidate import Candidate, compose, misfits
from ablate.candidates.names import Names
from ablate.candidates.trial import Evaluation, Reference
from ablate.discovery import provenance
from ablate.discovery.catalog import Catalog, catalog_of
from ablate.discovery.plugin_files import plugins_today
from ablate.engine import CheckedPool, Dispatcher, Watchdog
from ablate.errors import Argument, InputError, SpecError
from ablate.io import launches
from ablate.io.sealed import DamagedError
from ablate.kinds.data import Data
from ablate.kinds.executor import Executor
from ablate.kinds.solver import Solver
from ablate.results import load as load_results
from ablate.results import write_tables
from ablate.results.measurements import SAMPLING
from ablate.runtime.machine import cache_folder, choose_device, usable
from ablate.runtime.patient import doing, telling
from ablate.spec.fields import find_field, put, why_not
from ablate.spec.slots import create, fill
from ablate.study import dataset, history, lock, sampling, source_check
from ablate.study.launch import choose_executor, driving, start_workers
from ablate.study.reuse import measured_rows, missing
from ablate.study.yaml import value
from ablate.worker import records
from ablate.worker import sources as code
from ablate.worker.datasets import describe
from ablate.worker.messages import MeasureJob, WorkerReport
from ablate.worker.out_of_memory import half_sampling_batch


@dataclass
class Remeasured:
    """What came of it."""

    measured: int = 0
    reused: int = 0  # were there already
    failed: dict[str, str] = field(default_factory=dict)  # {trial: why}
    rows: list[dict[str, Any]] = field(default_factory=list)  # all that was asked for, measured now or before
    axes: tuple[str, ...] = ()  # how a model is sampled: fields of a measurement that take more than one value


@dataclass(frozen=True)
class Request:
    """What is asked of every trial; what is left out stays as the study has it."""

    metrics: Sequence[str] = ()  # names, or mappings in YAML
    samples: int | None = None
    nfe: Sequence[int] = ()
    averages: Sequence[str | float] = ()  # labels, or relative lengths to rebuild
    reference: str | None = None  # which of the reference images: "all", "even" or "odd"
    settings: Sequence[str] = ()  # "solver.x=VALUE" or "guidance.x=VALUE"; a list is one after the other


def remeasure(
    folder: Path,
    request: Request,
    executor: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
    plugins: Sequence[str] = (),
    words: Sequence[str] | None = None,
) -> Remeasured:
    """Measure all complete trials of a study's folder again.

    plugins: files or packages; one stands in for a file of the same name that has moved. words: of the command line,
    for the folder's log. Raises InputError for what cannot be asked of the trials, and where results in the folder
    come from other source than there is today.
    """
    with telling(say):
        return _remeasure(folder, request, executor, workers, device, say, plugins, words)


def _remeasure(
    folder: Path,
    request: Request,
    executor: str | None,
    workers: int | None,
    device: str,
    say: Callable[[str], None],
    plugins: Sequence[str],
    words: Sequence[str] | None,
) -> Remeasured:
    results = load_results(folder)
    held = lock.read(folder)
    complete = results.trials[results.trials["state"] == "complete"]
    found_jobs = _jobs(folder, complete["trial"], say)
    jobs = [{**job, "plugins": plugins_today(folder, job["plugins"], plugins)} for job in found_jobs]
    if held is None or not jobs:
        raise InputError("has no complete trial with its files, so there is nothing to measure again", str(folder))
    with doing(f"reading {describe(_data(jobs[0]))}", 6):
        _check_data(folder, jobs[0], held)
    found = Remeasured()
    on = choose_device(device)
    own = {"device": on, "cache": str(usable(cache_folder()))}
    queue: list[MeasureJob] = []
    from ablate.worker.remeasure import key, sign, variant  # imports torch: what is wrong with the input is told first

    now: dict[str, str] = {}
    files: dict[str, str] = {}
    ways: list[Candidate] = []
    for job in jobs:
        trial = folder.absolute() / "trials" / job["trial"]
        known = catalog_of(job)
        there = measured_rows(trial, job, known)
        for asked in _asked(job, held["spec"]["evaluate"], request):
            ways.append(variant({**job, "asked": asked}, known))
            stands = _stands_on(job, asked, known)
            now.update(stands["sources"])
            files.update({one: str(known.entry(*one.split("/", 1)).file) for one in stands["sources"] if "/" in one})
            with doing(f"looking at what is measured already of {results.names.trial(job)}"):
                rows, left = missing(asked, job["data"], there, known)
            found.rows += [{**row, "trial": job["trial"]} for row in rows]
            found.reused += not left
            for part in left:
                name = f"{job['trial']}-{key(part)}"
                stands = _stands_on(job, part, known)
                one = {**job, **own, "job": name, "folder": str(trial), "asked": part, **stands}
                queue.append(cast(MeasureJob, one))
    for line in (*source_check.check(folder, held, now, files), *lock.other_versions(folder, held)):
        say(line)
    for line in sampling.solver_bias_warnings(ways, _data(jobs[0])):
        say(f"warning: {line}")
    chosen = choose_executor(None, executor, workers, known)
    watchdog = Watchdog(_patience(folder, chosen), signs=lambda job: [sign(job)])
    with driving(folder), start_workers(chosen, "ablate.worker.remeasure:run", on) as pool:
        logged = {"command": history.command(words, "evaluate"), "plugins": jobs[0]["plugins"]}
        history.log(folder, "evaluate", None, versions=lock.versions(), **logged, executor=chosen.spec(), device=on)
        _work(pool, queue, found, say, watchdog, results.names)
    write_tables(folder)
    found.axes = _axes(found.rows)
    return found


def _jobs(folder: Path, trials: Iterable[str], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """What the driver once asked for, with the data that the trial was trained on; a damaged file is told."""
    for name in trials:
        trial = folder / "trials" / name
        try:
            yield records.job_of(trial, records.whole(trial) or {})
        except FileNotFoundError:
            continue
        except DamagedError as error:
            say(f"warning: {error}; the trial is left out")


def _check_data(folder: Path, job: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Raises InputError where the data are not those that the trials were trained on."""
    data = _data(job)
    do = "bring those data back: what is measured against other pictures does not belong beside what is there"
    dataset.check(folder, data, dataset.hash_of(data, cache_folder()), held, do)


def _data(job: Mapping[str, Any]) -> Data:
    return create(Data, job["data"], catalog_of(job))


def _stands_on(job: Mapping[str, Any], asked: Mapping[str, Any], known: Catalog) -> dict[str, Any]:
    """The source that a measurement needs, for its job: of the trained network, and of how it is measured now."""
    from ablate.worker.remeasure import variant

    candidate = variant({**job, "asked": asked}, known)
    wholes = (candidate, create(Data, job["data"], known), fill(Evaluation, asked["evaluation"], known))
    found = code.hashes_of((part for whole in wholes for _, part in whole.parts()), known)
    return {"hashes": provenance.SCHEME, "sources": found}


def _axes(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The fields in which values of one metric of one trial differ: along these they stand beside each other."""
    values: dict[str, dict[tuple[Any, ...], set[Any]]] = {name: defaultdict(set) for name in SAMPLING}
    for row in rows:
        for name, of in values.items():
            of[row["trial"], row["metric"]].add(row.get(name))
    return tuple(name for name, of in values.items() if any(len(held) > 1 for held in of.values()))


def _patience(folder: Path, chosen: Executor) -> float | None:
    """Seconds without a sign of life that end a measurement: as long as the last run of the study waited."""
    for launched in reversed(launches.read(folder)):
        said = launched.get("executor")
        if launched.get("action") == "run" and isinstance(said, Mapping):
            patience = said.get("patience", chosen.patience)
            return float(patience) if isinstance(patience, int | float) and patience > 0 else None
    return chosen.patience


def _work(
    pool: CheckedPool,
    queue: Sequence[MeasureJob],
    found: Remeasured,
    say: Callable[[str], None],
    watchdog: Watchdog,
    names: Names,
) -> None:
    """Run the jobs until each has ended for good, by the dispatcher that `ablate run` has."""

    def smaller(job: MeasureJob, report: WorkerReport) -> MeasureJob | None:
        again = half_sampling_batch(job, job["asked"]["evaluation"])
        if again is not None:
            say(f"{names.trial(job)}: out of memory; {again['sampling_batch']} samples at a time")
        return again

    dispatcher = Dispatcher(
        pool,
        watchdog,
        say,
        name=names.trial,
        activity=lambda job: "while it was measured",
        smaller=smaller,
        resumed="it is measured again",
    )
    dispatcher.add(queue)
    for job, report in dispatcher.run():
        if report["status"] == "done" and "rows" in report:
            found.measured += 1
            found.rows += [{**row, "trial": job["trial"]} for row in report["rows"]]
            outcome = _values(report["rows"])
        else:
            without = "its worker reported no rows" if report["status"] == "done" else report["status"]
            outcome = report.get("message", without).partition("\n")[0]
            found.failed[job["trial"]] = outcome
        say(f"[{found.measured + len(found.failed)}/{len(queue)}] {names.trial(job)}: {outcome}")


def _values(rows: Sequence[Mapping[str, Any]]) -> str:
    """What was found, with what it was taken with."""
    told = []
    for row in rows:
        value = "not finite" if row["value"] is None else f"{row['value']:.4g}"
        told.append(f"{row['metric']} {value} ({row['nfe']} evaluations, {row['guidance']}, {row['ema']})")
    return "; ".join(told)


def _asked(job: Mapping[str, Any], evaluate: Mapping[str, Any], request: Request) -> Iterator[dict[str, Any]]:
    """What a worker is asked for, one combination after the other; InputError for what does not fit together."""
    known = catalog_of(job)
    evaluation = _evaluation(evaluate, request, known)
    data = create(Data, job["data"], known)
    trained = compose(job["candidate"], known)
    for spec in _specs(job["candidate"], request, known):
        try:
            made = compose(spec, known)
            problems = misfits(made, data, data.setting())
            if problems:
                raise SpecError(problems)
        except SpecError as error:
            raise InputError(f"{error.message} (trial {job['trial']})", Argument("settings")) from None
        if made.guidance.drop_rate() != trained.guidance.drop_rate():
            raise InputError(
                "the share of labels that are dropped belongs to training, and cannot be changed", Argument("settings")
            )
        for nfe in request.nfe or (None,):
            solver = made.solver if nfe is None else _with_nfe(made.solver, nfe, known)
            yield {
                "evaluation": evaluation.spec(),
                "solver": solver.spec(),
                "guidance": made.guidance.spec(),
                "averages": list(request.averages) or None,
            }


def _evaluation(evaluate: Mapping[str, Any], request: Request, known: Catalog) -> Evaluation:
    spec = {**evaluate, "previews": 0}
    if request.metrics:
        spec["metrics"] = [value(said, Argument("metrics")) for said in request.metrics]
    if request.samples is not None:
        spec["samples"] = request.samples
    if request.reference is not None:
        if request.reference not in get_args(Reference):
            raise InputError(
                f"expected one of {', '.join(get_args(Reference))}, not {request.reference!r}", Argument("reference")
            )
        spec["reference"] = request.reference
    try:
        return fill(Evaluation, spec, known)
    except SpecError as error:
        raise InputError(error.message, Argument("metrics" if request.metrics else "samples")) from None


def _specs(candidate: Mapping[str, Any], request: Request, known: Catalog) -> Iterator[dict[str, Any]]:
    """The candidate's spec under every combination of the settings."""
    said: list[list[tuple[list[str], Any]]] = []
    for text in request.settings:
        path, separator, given = text.partition("=")
        keys = path.strip().split(".")
        if not separator or keys[0] not in ("solver", "guidance") or (keys == ["guidance"]):
            raise InputError(
                "expected solver=…, solver.FIELD=… or guidance.FIELD=…: all else is training", Argument("settings")
            )
        if len(keys) > 1 and find_field(Candidate, candidate, keys, known) is None:
            raise InputError(why_not(Candidate, candidate, keys, known), Argument("settings", text))
        parsed = value(given, Argument("settings", text))
        said.append([(keys, one) for one in (parsed if isinstance(parsed, list) else [parsed])])
    for combination in itertools.product(*said):
        spec = {**candidate}
        for keys, one in combination:
            put(spec, keys, one)
        yield spec


def _with_nfe(solver: Solver, nfe: int, known: Catalog) -> Solver:
    """The same solver with as many steps as take so many evaluations."""
    near: dict[int, Solver] = {}
    for steps in range(1, nfe + 1):
        try:
            made = create(Solver, {**solver.spec(), "steps": steps}, known)
        except SpecError:
            continue
        near[made.nfe()] = made
        if made.nfe() >= nfe:
            break
    if nfe not in near:
        told = " or ".join(map(str, sorted(near, key=lambda n: abs(n - nfe))[:2])) or "none"
        raise InputError(
            f"solver {solver.name!r} cannot take exactly {nfe} evaluations; it can take {told}", Argument("nfe")
        )
    return near[nfe]
