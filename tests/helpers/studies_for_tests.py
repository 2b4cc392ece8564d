"""Studies of probes on digits, run by the engine on a real pool, in this process unless they bring another."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from segments_for_tests import PLUGIN, timeless
from trial_files import record_files, records_of

from ablate.engine import CheckedPool, Engine, Outcome, Progress, Watchdog
from ablate.execute.local import Local
from ablate.kinds.executor import Pool
from ablate.study.launch import plan_of
from ablate.study.load import load_study
from ablate.study.loaded import LoadedStudy

STUDY: dict[str, Any] = {
    "study": "probes",
    "plugins": [PLUGIN],
    "data": "digits",
    "base": {"backbone": "probe", "solver": {"type": "ddim", "steps": 1}, "batch": 16},
    "vary": {"backbone.width": [2, 4, 8]},
    "design": {"type": "one_factor", "seeds": 2},
    "budget": {"steps": 2},
    "evaluate": {"metrics": [{"type": "kid", "features": "pixels"}], "samples": 4, "batch": 4, "previews": 0},
    "objectives": ["kid", "gflops"],
}


def changed(study: dict[str, Any], changes: dict[str, Any], between: str) -> dict[str, Any]:
    """A copy of a study with values at paths, whose parts stand with `between` between them."""
    made = copy.deepcopy(study)
    for path, value in changes.items():
        *parents, last = path.split(between)
        place = made
        for parent in parents:
            place = place[parent]
        place[last] = value
    return made


def study(**changes: Any) -> dict[str, Any]:
    """The study with values at dotted paths: `study(**{"base.backbone": ...})`; `vary` as a whole."""
    return changed(STUDY, changes, ".")


SEARCH: dict[str, Any] = {
    "vary": {"backbone.knob": {"low": 0, "high": 1}, "backbone.knack": ["none", "half", "full"]},
    "objectives": ["loss", "gflops"],
    "evaluate": {"samples": 1, "previews": 0},
    "budget": {"steps": 1},
}


def search(**design: Any) -> dict[str, Any]:
    """A study whose candidates a sampler finds."""
    return {**study(), **SEARCH, "design": {"type": "search", **design}}


class Driver:
    """Runs a study in a folder as `launch` does, without tables and figures; keeps what was told."""

    def __init__(
        self, folder: Path, spec: Mapping[str, Any], pool: Pool | None = None, watchdog: Watchdog | None = None
    ) -> None:
        self.folder = folder
        self.loaded: LoadedStudy = load_study(spec)
        self.pool = pool
        self.watchdog = watchdog
        self.progress: list[Progress] = []

    @property
    def lines(self) -> list[str]:
        return [line for progress in self.progress for line in progress.lines]

    def run(self) -> Outcome:
        plan = plan_of(self.loaded, self.folder, "cpu")
        if self.pool is not None:
            return Engine(plan, CheckedPool(self.pool, "test"), self.progress.append, self.watchdog).run()
        with Local(in_process=True).start("ablate.worker.trial_run:run", "cpu") as pool:
            return Engine(plan, CheckedPool(pool, "local"), self.progress.append).run()


def trials(folder: Path, name: str = "record.json") -> dict[str, dict[str, Any]]:
    """Records, or other files, by trial."""
    if name == "record.json":
        return records_of(folder)
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob(f"trials/*/{name}"))}


def marks(folder: Path) -> dict[str, tuple[int, int]]:
    """What changes if a record is written again."""
    return {path.parent.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in record_files(folder)}


def results(folder: Path) -> dict[str, Any]:
    """Records without what a clock decides."""
    return {trial: timeless(record) for trial, record in trials(folder).items()}


def ledger(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The candidates in Optuna's study, in order."""
    where = f"sqlite:///{folder / 'optuna.db'}"
    storage = optuna.storages.RDBStorage(where, skip_compatibility_check=True, skip_table_creation=True)
    try:
        (one,) = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=one, storage=storage).get_trials()
    finally:
        storage.remove_session()
        storage.engine.dispose()


def asked(folder: Path) -> list[dict[str, Any]]:
    """The choices of all candidates that were asked for to the end, in order."""
    return [trial.params for trial in ledger(folder) if trial.state != optuna.trial.TrialState.FAIL]
