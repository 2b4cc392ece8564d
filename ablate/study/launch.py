"""Launching: from a study file to a folder of results, and back into it after an interruption."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.candidates.candidate import Candidate
from ablate.candidates.packing import pack_size
from ablate.discovery.catalog import Catalog
from ablate.engine.contained import contained
from ablate.errors import Argument, InputError, SpecError, did_you_mean
from ablate.execute.store_driver import stored_driver
from ablate.io.files import nameable, sweep
from ablate.io.locks import try_lock
from ablate.io.stores import is_url
from ablate.kinds.data import describe_data
from ablate.kinds.executor import Executor, Limits
from ablate.kinds.tracker import TrackedStudy
from ablate.runtime.machine import cache_folder, choose_device, usable
from ablate.runtime.patient import doing, telling
from ablate.spec.slots import create
from ablate.study import dataset, history, inherit, lock, taught
from ablate.study.borrow import Reuse
from ablate.study.building import building, check_limits
from ablate.study.estimate import flops_of
from ablate.study.examine import examined
from ablate.study.ineffective import left_out
from ablate.study.load import load_study
from ablate.study.loaded import LoadedStudy
from ablate.study.prolong import Prolong
from ablate.study.schema import columns_during
from ablate.study.track import tracked
from ablate.worker.datasets import describe

if TYPE_CHECKING:  # what runs it takes seconds to import, in which the worker gets ready
    from ablate.engine import CheckedPool, Outcome, Plan, Progress
    from ablate.engine.database import Database

WORK = "ablate.worker.trial_run:run"
TABLES_SECONDS = 10.0  # between two writings of the tables while a study runs, at the least
TABLES_SHARE = 0.02  # of the driver's time, at the most, that goes into them


@dataclass(frozen=True)
class Launched:
    """A study that was run."""

    folder: Path
    outcome: Outcome
    study: LoadedStudy


def launch(
    study: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[str] = (),
    profile: str | None = None,
    executor: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    words: Sequence[str] | None = None,
    watch: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
    figures: bool = True,
) -> Launched:
    """Run or resume a study. Nothing is written before all of the input is known to be right.

    A folder's own `study.yaml` goes on in that folder. out: a folder, or the URL of one in a store
    (`s3://bucket/name`): then the driver works in a folder of this machine, and what it writes there goes up. words:
    of the command line, for the folder's log. figures: whether they are drawn at the end.
    """
    if out is not None:
        nameable(Path(out), Argument("out"))
    if isinstance(out, str) and not is_url(out):
        out = Path(out.removeprefix("file://"))
    with telling(say):
        return _launch(study, out, overrides, plugins, profile, executor, workers, device, words, watch, say, figures)


def _launch(
    study: str | Path | Mapping[str, Any],
    out: str | Path | None,
    overrides: Sequence[str],
    plugins: Sequence[str],
    profile: str | None,
    executor: str | None,
    workers: int | None,
    device: str,
    words: Sequence[str] | None,
    watch: Callable[[Progress], None] | None,
    say: Callable[[str], None],
    figures: bool,
) -> Launched:
    loaded = load_study(study, overrides=overrides, plugins=plugins, profile=profile)
    stored = stored_driver(out, say) if isinstance(out, str) else None
    if stored is not None:
        stored.fetch()
        watch = stored.watching(watch)
    place = out if isinstance(out, Path) else None
    folder = folder_for(study, loaded, place if stored is None else stored.folder)
    locked = lock.read(folder)
    if locked is not None:
        frozen = lock.frozen_vary(locked)
        fidelity = lock.frozen_fidelity(locked, loaded.document.data.get("fidelity"))
        settled = [*overrides, *([] if fidelity is None else [f"fidelity={json.dumps(fidelity)}"])]
        loaded = load_study(study, overrides=settled, plugins=plugins, profile=profile, frozen=frozen)
        for warning in lock.check(folder, loaded):
            say(warning)
    elif folder.exists() and not _may_begin_in(folder):
        raise InputError(f"{folder} {_why_not_in(folder)}, or give another folder with --out")
    reuse = Reuse(loaded, folder, say)
    chosen = choose_executor(loaded.study.executor, executor, workers, loaded.catalog, stored is not None)
    check_limits(chosen)
    with chosen.getting_ready(WORK):
        chosen_device = choose_device(device)
        with doing("examining the study's settings", 6):
            warnings = examined(loaded, chosen_device)
            if locked is not None:
                warnings += left_out(locked.get("left_out", {}))  # `all` itself is frozen since
        for warning in warnings:
            say(f"warning: {warning}")
        if loaded.study.evaluate.metrics:
            usable(cache_folder())
        reading = f"reading {describe(loaded.study.data)}"
        with doing(reading, 6), contained():
            loaded.study.data.check(cache_folder())
            images = dataset.read(loaded.study.data, cache_folder())
            data_hash, remarks = (None, ()) if images is None else (images.hash, images.remarks)
            del images
        taught.check_data(loaded, data_hash)
        inherit.check(loaded, folder, chosen, stored is not None)
        if (problem := chosen.refuse_trials(_example(loaded, folder, data_hash))) is not None:
            raise InputError(problem, f"executor {chosen.name!r}")
        with (
            driving(folder),
            _ledger_of(loaded, folder) as store,
            contextlib.nullcontext() if stored is None else stored.driving(),
        ):
            if stored is not None and (chosen.by_url == "here" or lock.grows(folder, loaded)):
                stored.networks()
            lock.check(folder, loaded)  # again: another may have been first
            advice = "bring those data back, or give another folder with --out"
            for line in dataset.check(folder, loaded.study.data, data_hash, lock.read(folder), advice):
                say(line)
            lock.write(folder, loaded, data_hash)
            with doing(reading, 6), contained():
                description = describe_data(loaded.study.data, cache_folder())
            for line in (*description, *remarks):
                say(f"data: {line}")
            history.log(
                folder,
                "run",
                str(Path(study).absolute()) if isinstance(study, str | Path) else None,
                versions=lock.versions(),
                command=history.command(words, "ablate.run(...)"),
                overrides=list(overrides),
                profile=profile,
                plugins=list(loaded.catalog.plugins),
                executor=chosen.spec(),
                device=chosen_device,
            )
            for swept in (folder, folder / "figures", *folder.glob(f"{history.SOURCES}/*")):
                sweep(swept)
            plan = plan_of(loaded, folder, chosen_device, data_hash, chosen.measures)
            if store is not None:
                plan = replace(plan, store=partial(store.ledger, identity=(lock.read(folder) or {}).get("identity")))
            plan = replace(plan, say=say, borrow=reuse)
            if chosen.measures:
                prolong = Prolong(loaded, folder, chosen_device)
                for line in prolong.describe()[0]:
                    say(line)
                plan = replace(plan, prolong=prolong, earlier=prolong.own)
            about = TrackedStudy(loaded.study.study, loaded.study.question, folder)
            with tracked(loaded.study.trackers, about, loaded.catalog, loaded.names, say) as tell:
                outcome = _run(plan, chosen, watch, say, tell)
            if figures:
                _draw(folder, say)
        return Launched(folder, outcome, loaded)


def folder_for(study: str | Path | Mapping[str, Any], loaded: LoadedStudy, out: Path | None) -> Path:
    """Return the folder of a study's results: `out`, or the one whose own `study.yaml` it is, or results/<study>."""
    return (out or _own_folder(study) or Path("results") / loaded.study.study).absolute()


def _may_begin_in(folder: Path) -> bool:
    """Return whether a study may begin in what is at its folder's path: nothing, or a launch that was killed there.

    One that is killed, or that finds the disk full, before there is a lock has left sources, and its own `.driver`.
    """
    if not folder.is_dir():
        return False
    left = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return not left or (left == {history.SOURCES} and (folder / ".driver").exists())


def _why_not_in(folder: Path) -> str:
    """Return why no study begins in a folder that holds something, and what to do."""
    if (folder / "trials").exists() or (folder / history.EFFECTIVE).exists():
        return f"was a study's folder, and its {lock.FILE} is gone, which says what was studied: put it back"
    return "holds something that is no study: empty it"


def _own_folder(study: str | Path | Mapping[str, Any]) -> Path | None:
    """Return the study's folder that a file is the effective study of; None where it is not one."""
    if isinstance(study, Mapping) or Path(study).name != history.EFFECTIVE:
        return None
    folder = Path(study).parent
    return folder if (folder / "lock.json").is_file() else None


def choose_executor(
    own: Executor | None, name: str | None, workers: int | None, catalog: Catalog, by_url: bool = False
) -> Executor:
    """Return the executor of that name, or the study's own, or the preferred one of those that are installed.

    by_url: the study's folder is in a store, where not all can run trials: InputError for one that cannot.
    """
    if name is not None:
        if name not in catalog.names("executor"):
            raise InputError(f"there is no executor {name!r}{did_you_mean(name, catalog.names('executor'))}")
        limits = {} if own is None or own.limits is None else {"limits": own.limits.spec()}
        executor = own if own is not None and own.name == name else create(Executor, {"type": name, **limits}, catalog)
    elif own is not None:
        executor = own
    else:
        able = [e.cls for e in catalog.entries("executor") if issubclass(e.cls, Executor) and e.cls.available()]
        able = [cls for cls in able if cls.by_url is not None or not by_url]
        executor = max(able, key=lambda cls: cls.preference)()
    if by_url and executor.by_url is None:
        raise InputError(
            f"the executor {executor.name!r} needs a study's folder that its workers share, and a URL is none; say "
            "--executor local, or --executor workers, whose workers join by `ablate worker URL`"
        )
    if workers is None:
        return executor
    try:
        return create(Executor, {**executor.spec(), "workers": workers}, catalog)
    except SpecError as error:
        raise InputError(error.problems[0].message, Argument("workers")) from None


@contextlib.contextmanager
def _ledger_of(loaded: LoadedStudy, folder: Path) -> Iterator[Database | None]:
    """Be the only driver of a study's ledger in a database, where it has one there."""
    if loaded.study.storage is None:
        yield None
        return
    from ablate.engine.database import Database

    with doing("opening the ledger's database", 2):
        database = Database(loaded.study.storage, loaded.study.study, folder)
    try:
        yield database
    finally:
        database.close()


def start_workers(executor: Executor, work: str, device: str) -> CheckedPool:
    """Start an executor's workers; see `Executor.start`."""
    from ablate.engine import CheckedPool

    with doing(f"starting the executor {executor.name!r}", 12):
        return CheckedPool(executor.start(work, device), executor.name)


def plan_of(
    loaded: LoadedStudy, folder: Path, device: str, data_hash: str | None = None, measures: bool = True
) -> Plan:
    """Return what the engine needs to know of a study.

    data_hash: of the data that its trials are trained on. measures: whether they are trained, or replayed.
    """
    from ablate.engine import Plan

    return Plan(
        name=loaded.study.study,
        folder=folder,
        space=loaded.space,
        design=loaded.study.design,
        trial_settings=loaded.trial_settings,
        objectives=loaded.objectives,
        constraints=loaded.constraints,
        fidelity=loaded.study.fidelity,
        seeding=loaded.study.seeding,
        total=loaded.study.total,
        during=columns_during(loaded.study.evaluation),
        candidate=loaded.candidate,
        flops=partial(flops_of, loaded.trial_settings),
        plugins=loaded.catalog.plugins,
        device=device,
        cache=cache_folder(),
        seed=loaded.study.seed,
        names=loaded.names,
        teacher=partial(taught.teacher_of, loaded, folder),
        source_keys=partial(_source_keys, loaded, data_hash, measures),
    )


def _source_keys(loaded: LoadedStudy, data_hash: str | None, measures: bool, candidate: Candidate) -> dict[str, Any]:
    """Return the keys of a candidate's jobs about the source and the data that they need."""
    data = {} if data_hash is None else {"data_hash": data_hash}
    memory = {} if measures else {"estimated_memory_bytes": None}  # nobody needs an estimate: it is not made
    keep = {"checkpoints": list(loaded.study.checkpoints)} if loaded.study.checkpoints else {}
    return {**loaded.sources(candidate), "root": str(loaded.root), **data, **memory, **keep}


def _example(loaded: LoadedStudy, folder: Path, data_hash: str | None) -> dict[str, Any]:
    """Return the job of the study's base, for the executor to say whether it runs such."""
    base, design = loaded.study.base, loaded.study.design
    jobs = loaded.trial_settings.jobs(
        base, 1, loaded.baseline, loaded.catalog.plugins, folder / "trials", None, design.first_seed
    )
    return {**jobs[0], "data_hash": data_hash}


def _run(
    plan: Plan,
    executor: Executor,
    watch: Callable[[Progress], None] | None,
    say: Callable[[str], None],
    tell: Callable[[], None],
) -> Outcome:
    from ablate.engine import Engine, Watchdog

    due = time.monotonic() + TABLES_SECONDS

    def look(progress: Progress) -> None:
        nonlocal due
        lock.check_place(plan.folder)
        if watch is not None:
            watch(progress)
        tell()
        begun = time.monotonic()
        if begun >= due:
            _write_tables(plan.folder)
            due = time.monotonic() + max(TABLES_SECONDS, (time.monotonic() - begun) / TABLES_SHARE)

    settings = plan.trial_settings
    size, note = pack_size(executor.pack, plan.device, settings.budget, plan.objectives, plan.constraints)
    if note is not None:
        say(note)
    try:
        with (
            start_workers(executor.in_folder(plan.folder), WORK, plan.device) as pool,
            building(executor.limits, plan) as plan,
        ):
            limits = executor.limits or Limits()
            watchdog = Watchdog(executor.patience, limit=limits.trial)
            outcome = Engine(plan, pool, look, watchdog, size).run()
    except BaseException as error:
        if isinstance(error, Exception):
            lock.check_place(plan.folder)  # where it is not there, that is why, whatever came of it
        if (plan.folder / lock.FILE).exists():
            with contextlib.suppress(OSError):  # the disk may be what is wrong
                _write_tables(plan.folder)
        raise
    lock.check_place(plan.folder)
    _write_tables(plan.folder)
    return outcome


def _write_tables(folder: Path) -> None:
    from ablate.results import write_tables

    write_tables(folder)


def _draw(folder: Path, say: Callable[[str], None]) -> None:
    """Draw the figures. What was measured is there: how the run ended is for the trials to say."""
    from ablate.results import load

    try:
        load(folder).figures(say=say)
    except OSError as error:
        say(f"warning: the figures could not be written: {error.strerror or error}")


@contextlib.contextmanager
def driving(folder: Path) -> Iterator[None]:
    """Be the only driver of a folder. Raises InputError where it cannot be written, or has a driver."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = try_lock(folder / ".driver")
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None
    if lock is None:
        raise InputError(f"another `ablate run` is at work in {folder}; see `ablate status {folder}`")
    try:
        yield
    finally:
        lock.release()
