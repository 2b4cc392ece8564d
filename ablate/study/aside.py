"""The trials of a smaller budget: set aside in a study's folder, as a study of their own, when its budget grows.

Values of different budgets never meet in one table. So what there is moves into `budget-<number>-<unit>/`, which has
lock, study and tables of its own, and is read, reported and reused like any other folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.io.files import write_atomic, write_json
from ablate.io.sealed import sealed
from ablate.worker import records

PREFIX = "budget-"
LOCK = "lock.json"
BOTH = ("study.yaml", "study.original.yaml", "launches.jsonl")  # files that stay, and are copied
STAY = (*BOTH, LOCK, "sources", ".driver", ".store.json", "ledger.json")


def name_of(budget: Mapping[str, Any]) -> str:
    """Return the name of the folder for trials of a budget, such as `budget-4800-images`."""
    ((unit, value),) = budget.items()
    return f"{PREFIX}{value if isinstance(value, int) else f'{value:g}'}-{unit}"


def folders(study: Path) -> list[Path]:
    """Return the folders in which trials of smaller budgets were set aside, in a study's folder."""
    return sorted(file.parent for file in study.glob(f"{PREFIX}*/{LOCK}"))


def set_aside(folder: Path, lock: Mapping[str, Any]) -> str:
    """Move a study's trials, ledger, tables and figures into a folder of their own in it, and return its name.

    lock: of the smaller budget. Nothing is lost where it is cut short: the folder still is the old study, which takes
    its trials from there (`reuse`), and the same once more moves the rest.
    """
    name = name_of(lock["science"]["budget"])
    aside = folder / name
    aside.mkdir(exist_ok=True)
    for file in BOTH:
        if (folder / file).is_file():
            write_atomic(aside / file, (folder / file).read_bytes())
    if (folder / "sources").is_dir():
        shutil.copytree(folder / "sources", aside / "sources", dirs_exist_ok=True)
    content = dict(lock)
    if "root" in lock:
        content["root"] = {**lock["root"], "relative": f"../{lock['root']['relative']}"}
    write_json(aside / LOCK, sealed(json.loads(json.dumps(content))))
    for entry in _moving(folder):
        if entry.name == "trials" and (aside / "trials").is_dir():  # it was cut short, and the old study was run again
            _merge(entry, aside / "trials")
            continue
        if (aside / entry.name).is_dir():
            shutil.rmtree(aside / entry.name)
        entry.replace(aside / entry.name)
    return name


def _moving(folder: Path) -> Iterator[Path]:
    """Yield what is the smaller budget's alone, the trials last."""
    entries = [entry for entry in folder.iterdir() if entry.name not in STAY and not entry.name.startswith(PREFIX)]
    yield from sorted(entries, key=lambda entry: entry.name == "trials")


def _merge(trials: Path, into: Path) -> None:
    """Move trials beside others of the same study; of a trial that is in both, one that is measured stays."""
    for trial in sorted(trials.iterdir()):
        target = into / trial.name
        if records.read_valid(target) is None:
            shutil.rmtree(target, ignore_errors=True)
            trial.replace(target)
    shutil.rmtree(trials)
