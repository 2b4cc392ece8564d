"""Keep a finished study under results/curated: what a reader needs of its folder, without the weights.

    python docs/curate.py results/dit_conditioning [...]

Tables, records, curves, samples, figures, Optuna's ledger and the log of launches are kept, so that `ablate.load`,
`ablate report` and `ablate dashboard` read the curated folder as any other. Packed trials become files of text, of
which a new run shows what it changed. Checkpoints and snapshots are not kept, nor what names places of the machine (a
trial's job; the lock's root; the log of launches is cut to names), so a curated study cannot go on.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from ablate.io.files import write_json
from ablate.io.sealed import read_sealed, sealed, unsealed
from ablate.worker import records

CURATED = Path(__file__).resolve().parent.parent / "results" / "curated"
KEPT = (
    *("study.yaml", "lock.json", "ended.json", "optuna.db", "*.parquet", "sources/*", "figures/*.png"),
    *(f"trials/*/{name}" for name in ("record.json", "failure.json", "curve.json", "probes.json", "samples.png")),
    "trials/*/measured/*.json",
)
MOST = 30 * 2**20  # bytes of all curated studies together


def curate(folder: Path) -> Path:
    """Replace the curated copy of a study's folder; its place."""
    place = CURATED / folder.name
    shutil.rmtree(place, ignore_errors=True)
    for pattern in KEPT:
        for file in sorted(folder.glob(pattern)):
            kept = place / file.relative_to(folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)
    for packed in folder.glob(f"trials/*/{records.PACKED}"):
        records.unpack(packed.parent, place / "trials" / packed.parent.name)
    lock = unsealed(read_sealed(place / "lock.json"))
    lock.pop("root", None)  # where the study's file stood on the machine
    write_json(place / "lock.json", sealed(lock))
    log = folder / "launches.jsonl"
    if log.is_file():
        lines = [json.dumps(_named(json.loads(line))) for line in log.read_text(encoding="utf-8").splitlines()]
        (place / log.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return place


def _named(launch: dict[str, Any]) -> dict[str, Any]:
    """A launch without the machine's places: files and folders by their names, no working directory."""
    study, command = launch.get("study"), launch.get("command")
    named = None if command is None else re.sub(r"(?<=[ =])/\S*?([^/\s]+)(?=\s|$)", r"\1", command)
    return {**launch, "study": None if study is None else Path(study).name, "command": named, "cwd": None}


def main() -> None:
    """Curate the folders that are named, and say what they take."""
    for name in sys.argv[1:]:
        place = curate(Path(name))
        print(f"{place.name}: {_size(place) / 2**10:.0f} KiB")
    total = _size(CURATED)
    print(f"all: {total / 2**20:.1f} MiB")
    if total > MOST:
        sys.exit(f"more than {MOST / 2**20:.0f} MiB")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
