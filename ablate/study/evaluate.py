"""`ablate evaluate`: measures every trial of a study again, for a grid of solvers, guidance and EMAs; no training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ablate.candidates.candidate import Candidate
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.names import Names
from ablate.discovery import provenance
from ablate.discovery.catalog import Catalog, catalog_of
from ablate.discovery.plugin_files import plugins_today
from ablate.engine import CheckedPool, Dispatcher, Watchdog
from ablate.errors import InputError
from ablate.io import launches
from ablate.io.sealed import DamagedError
from ablate.kinds.data import Data
from ablate.kinds.executor import Executor
from ablate.results import load as load_results
from ablate.results import write_tables
from ablate.results.identity import differing_settings
from ablate.results.measurements import SAMPLING
from ablate.runtime.machine import cache_folder, choose_device, usable
from ablate.runtime.patient import doing, telling
from ablate.spec.slots import create, fill
from ablate.study import dataset, history, lock, sampling, source_check
from ablate.study.launch import choose_executor, driving, start_workers
from ablate.study.request import Request, ways_of
from ablate.study.reuse import measured_rows, missing
from ablate.worker import records, sources
from ablate.worker.datasets import describe
from ablate.worker.messages import MeasureJob, WorkerReport
from ablate.worker.out_of_memory import half_sampling_batch


@dataclass
class Remeasured:
    """How a run of `ablate evaluate` ended."""

    measured: int = 0
    reused: int = 0  # were there already
    failed: dict[str, str] = field(default_factory=dict)  # {trial: why}
    rows: list[dict[str, Any]] = field(default_factory=list)  # all that was asked for, measured now or before
    axes: tuple[str, ...] = ()  # how a model is sampled: fields of a measurement that take more than one value


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
    locked = lock.read(folder)
    complete = results.trials[results.trials["state"] == "complete"]
    trained = _jobs(folder, complete["trial"], say)
    jobs = [{**job, "plugins": plugins_today(folder, job["plugins"], plugins)} for job in trained]
    if locked is None or not jobs:
        raise InputError("has no complete trial with its files, so there is nothing to measure again", str(folder))
    with doing(f"reading {describe(_data(jobs[0]))}", 6):
        _check_data(folder, jobs[0], locked)
    outcome = Remeasured()
    chosen_device = choose_device(device)
    common = {"device": chosen_device, "cache": str(usable(cache_folder()))}
    queue: list[MeasureJob] = []
    from ablate.worker.remeasure import key, sign, variant  # imports torch: errors in the input are reported before

    hashes: dict[str, str] = {}  # by component, as `files`
    files: dict[str, str] = {}
    candidates: list[Candidate] = []
    for job in jobs:
        trial = folder.absolute() / "trials" / job["trial"]
        catalog = catalog_of(job)
        measured = measured_rows(trial, job, catalog)
        for ways in ways_of(job, locked["spec"]["evaluate"], request):
            candidates.append(variant({**job, "asked": ways}, catalog))
            used = _source_keys(job, ways, catalog)["sources"]
            hashes.update(used)
            files.update({name: str(catalog.entry(*name.split("/", 1)).file) for name in used if "/" in name})
            with doing(f"looking at what is measured already of {results.names.trial(job)}"):
                rows, missing_ways = missing(ways, job["data"], measured, catalog)
            outcome.rows += [{**row, "trial": job["trial"]} for row in rows]
            outcome.reused += not missing_ways
            for part in missing_ways:
                own = {"job": f"{job['trial']}-{key(part)}", "folder": str(trial), "asked": part}
                queue.append(cast(MeasureJob, {**job, **common, **own, **_source_keys(job, part, catalog)}))
    for line in (*source_check.check(folder, locked, hashes, files), *lock.other_versions(folder, locked)):
        say(line)
    for line in sampling.solver_bias_warnings(candidates, _data(jobs[0])):
        say(f"warning: {line}")
    chosen = choose_executor(None, executor, workers, catalog)
    watchdog = Watchdog(_patience(folder, chosen), signs=lambda job: [sign(job)])
    placed = chosen.in_folder(folder.absolute())
    with driving(folder), start_workers(placed, "ablate.worker.remeasure:run", chosen_device) as pool:
        history.log(
            folder,
            "evaluate",
            None,
            versions=lock.versions(),
            command=history.command(words, "evaluate"),
            plugins=jobs[0]["plugins"],
            executor=chosen.spec(),
            device=chosen_device,
        )
        _work(pool, queue, outcome, say, watchdog, results.names, _solver_words(candidates))
    write_tables(folder)
    outcome.axes = _axes(outcome.rows)
    return outcome


def _jobs(folder: Path, trials: Iterable[str], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield the jobs of trials, with the hash of the data that they were trained on; warn about damaged files."""
    for name in trials:
        trial = folder / "trials" / name
        try:
            yield records.job_of(trial, records.read_valid(trial) or {})
        except FileNotFoundError:
            continue
        except DamagedError as error:
            say(f"warning: {error}; the trial is left out")


def _check_data(folder: Path, job: Mapping[str, Any], locked: Mapping[str, Any]) -> None:
    """Raise InputError where the data are not those that the trials were trained on."""
    data = _data(job)
    advice = "bring those data back: what is measured against other pictures does not belong beside what is there"
    dataset.check(folder, data, dataset.hash_of(data, cache_folder()), locked, advice)


def _data(job: Mapping[str, Any]) -> Data:
    return create(Data, job["data"], catalog_of(job))


def _source_keys(job: Mapping[str, Any], ways: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return the keys of a job about the source that a measurement needs: `hashes` and `sources`."""
    from ablate.worker.remeasure import variant

    candidate = variant({**job, "asked": ways}, catalog)
    configs = (candidate, create(Data, job["data"], catalog), fill(Evaluation, ways["evaluation"], catalog))
    hashes = sources.hashes_of((part for config in configs for _, part in config.parts()), catalog)
    return {"hashes": provenance.SCHEME, "sources": hashes}


def _axes(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the fields of sampling that take several values for one metric of one trial: the axes of the grid."""
    values: dict[str, dict[tuple[Any, ...], set[Any]]] = {name: defaultdict(set) for name in SAMPLING}
    for row in rows:
        for name, sets in values.items():
            sets[row["trial"], row["metric"]].add(row.get(name))
    return tuple(name for name, sets in values.items() if any(len(several) > 1 for several in sets.values()))


def _patience(folder: Path, chosen: Executor) -> float | None:
    """Return the seconds without a heartbeat that end a measurement: those of the last run of the study."""
    for launched in reversed(launches.read(folder)):
        spec = launched.get("executor")
        if launched.get("action") == "run" and isinstance(spec, Mapping):
            patience = spec.get("patience", chosen.patience)
            return float(patience) if isinstance(patience, int | float) and patience > 0 else None
    return chosen.patience


def _work(
    pool: CheckedPool,
    queue: Sequence[MeasureJob],
    outcome: Remeasured,
    say: Callable[[str], None],
    watchdog: Watchdog,
    names: Names,
    solver_words: frozenset[str],
) -> None:
    """Run the jobs until each has ended for good, by the dispatcher that `ablate run` has."""

    def smaller(job: MeasureJob, report: WorkerReport) -> MeasureJob | None:
        halved = half_sampling_batch(job, job["asked"]["evaluation"])
        if halved is not None:
            say(f"{names.trial(job)}: out of memory; {halved['sampling_batch']} samples at a time")
        return halved

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
            outcome.measured += 1
            outcome.rows += [{**row, "trial": job["trial"]} for row in report["rows"]]
            line = _describe_rows(report["rows"], solver_words)
        else:
            without = "its worker reported no rows" if report["status"] == "done" else report["status"]
            line = report.get("message", without).partition("\n")[0]
            outcome.failed[job["trial"]] = line
        say(f"[{outcome.measured + len(outcome.failed)}/{len(queue)}] {names.trial(job)}: {line}")


def _solver_words(candidates: Sequence[Candidate]) -> frozenset[str]:
    """Return what tells the solvers of measurements apart: names of their fields, and `solver` where there are several.

    Not the number of steps, which the evaluations tell.
    """
    differing = differing_settings(candidate.solver.settings() for candidate in candidates).values()
    fields = {part.partition("=")[0] for text in differing for part in text.split(", ") if part}
    several = len({candidate.solver.name for candidate in candidates}) > 1
    return frozenset(fields if len(differing) > 1 else ()) | ({"solver"} if several else set())


def _describe_rows(rows: Sequence[Mapping[str, Any]], solver_words: Set[str] = frozenset()) -> str:
    """Return the values of rows in words, with how they were sampled; of the solver what is in `solver_words`."""
    words = []
    for row in rows:
        value = "not finite" if row["value"] is None else f"{row['value']:.4g}"
        settings = str(row.get("solver_settings") or "").split(", ")
        solver = [row["solver"]] if "solver" in solver_words else []
        solver += [part for part in settings if part.partition("=")[0] in solver_words]
        ways = ", ".join([f"{row['nfe']} evaluations", *solver, row["guidance"], row["ema"]])
        words.append(f"{row['metric']} {value} ({ways})")
    return "; ".join(words)
