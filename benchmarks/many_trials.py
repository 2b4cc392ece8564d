"""What does a folder of 10,000 trials cost to read? `ablate.load` with its tables, and `ablate status`.

    python benchmarks/many_trials.py [--candidates 10000] [--workers 1000] [--folder DIR] [--rounds 3] [--csv FILE]

The trials are replayed from the table of benchmarks/replay.py, by its simulated workers and without the engine, which
would take ten times as long for the same folder. Each reading is a process of its own; `load` counts from after the
imports, `status` the whole command. They find the folder as a driver leaves it that ends, with an index of its records
(`ended`), then with a hundred records that have changed since (`changed`), and without an index (`copied`: a copy's
files are others). --folder: keeps the folder, and takes it where it is there.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench
from replay import study, table

from ablate.execute.replay import Replay
from ablate.results.index import FOLDER
from ablate.results.store import write_tables
from ablate.study import lock
from ablate.study.load import load_study
from ablate.worker.records import PACKED

COLUMNS = ("trials", "what", "state", "seconds", "cpu_seconds", "peak_mib")
CHANGED = 100
LOAD = """
import resource, sys, time
import pandas, pyarrow.parquet, ablate, ablate.results
begun, cpu = time.perf_counter(), time.process_time()
results = ablate.load(sys.argv[1])
trials, metrics = results.trials, results.metrics
print(len(trials), len(metrics), time.perf_counter() - begun, time.process_time() - cpu)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def fill(folder: Path, candidates: int, workers: int) -> None:
    """Replay all trials into a study's folder."""
    spec = folder / "study.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    spec.write_text(json.dumps(study(candidates, "none")))
    loaded = load_study(spec)
    table(loaded, folder / "table.parquet")
    lock.write(folder, loaded)
    settings, jobs = loaded.trial_settings, []
    for assignment in loaded.proposals() or ():
        candidate = loaded.candidate(assignment)
        jobs += settings.jobs(candidate, 1, assignment, (), folder / "trials", settings.cost(candidate))
    with Replay(table=str(folder / "table.parquet"), workers=workers).start("", "cpu") as pool:
        running = 0
        while jobs or running:
            while jobs and running < pool.slots:
                pool.submit(jobs.pop(0))
                running += 1
            running -= len(pool.wait(1.0))


def loading(folder: Path) -> dict[str, Any]:
    """Time `ablate.load` and its tables, after the imports."""
    out = subprocess.run(
        [sys.executable, "-c", LOAD, folder], capture_output=True, text=True, check=True
    ).stdout.split()
    return {
        "trials": int(out[0]), "seconds": float(out[2]), "cpu_seconds": float(out[3]), "peak_mib": round(float(out[4]))
    }  # fmt: skip


def status(folder: Path) -> dict[str, Any]:
    """Time `ablate status`, the whole command."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "ablate.cli", "status", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    seconds = time.perf_counter() - begun
    assert process.returncode == 0
    count = re.search(r"(\d+) complete", told)
    assert count is not None, told[:200]
    cpu, memory = used.ru_utime + used.ru_stime, round(used.ru_maxrss / 1024)
    return {"trials": int(count[1]), "seconds": seconds, "cpu_seconds": cpu, "peak_mib": memory}


def touch(folder: Path) -> None:
    """Write some records anew, as they are."""
    for file in sorted(folder.glob(f"trials/*/{PACKED}"))[:CHANGED]:
        file.write_bytes(file.read_bytes())


def apart(function: Callable[..., object], *arguments: object) -> None:
    """Call it in a process of its own: what this one has held would count as the memory of those that it starts."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def main() -> None:
    parser = bench.options(__doc__, rounds=3)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        if not (folder / "trials").is_dir():
            apart(fill, folder, arguments.candidates, arguments.workers)
        rows = []
        for what, read in (("load", loading), ("status", status)):
            apart(write_tables, folder)  # as a driver does at its end
            runs = [read(folder) for _ in range(arguments.rounds)]
            rows.append({"what": what, "state": "ended", **runs[0]})
            for name_ in ("seconds", "cpu_seconds", "peak_mib"):
                rows[-1][name_] = statistics.median(row[name_] for row in runs)
            touch(folder)
            rows.append({"what": what, "state": "changed", **read(folder)})
            shutil.rmtree(folder / FOLDER)
            rows.append({"what": what, "state": "copied", **read(folder)})
            for row in rows[-3:]:
                row |= {key: round(row[key], 2) for key in ("seconds", "cpu_seconds")}
                bench.show(row, COLUMNS)
    bench.keep(rows, COLUMNS, arguments.csv)


if __name__ == "__main__":
    main()
