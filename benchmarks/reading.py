"""What do tables, verdict and figures of a folder of 1,000 or 10,000 trials take?

    python benchmarks/reading.py [--candidates 1000] [--seeds 1] [--layout packed] [--what load ...] [--csv FILE]

The folder is made up: records, curves and jobs like those of results/curated/dit_conditioning, with other values. Each
reading is a process of its own; the seconds are CPU (user and system) from after the imports of pandas and ablate.
`load`: the tables of trials and metrics; `curves`: those too; `status`, `summary`, `front`, `effects`, `figures`: what
is told, after loading, which counts; `report`: the command that writes the page, of trials with 40 samples each, and
the page's size. `first` finds no index of records in the folder, the others find it. --layout
open: as earlier versions left a folder. --folder: keeps the folder, and takes it where it is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench
import numpy as np

TEMPLATE = Path(__file__).parents[1] / "results" / "curated" / "dit_conditioning"
COLUMNS = ("trials", "layout", "what", "state", "seconds", "peak_mib", "files", "kib_a_trial", "page_mb")
CONDITIONINGS = ("adaln_zero", "adaln", "in_context", "cross_attention")
READINGS = ("load", "curves", "status", "summary", "front", "effects", "figures")
WHAT = (*READINGS, "report")
KEPT = 40  # samples of a trial
READ = """
import resource, sys, time
import pandas, pyarrow.parquet, numpy, scipy.stats, ablate, ablate.results
what, folder = sys.argv[1:]
if what == "figures":
    import matplotlib.pyplot
begun = time.process_time()
results = ablate.load(folder)
trials, metrics = results.trials, results.metrics
if what == "curves":
    assert len(results.curves)
elif what == "summary":
    assert results.summary(plain=True)
elif what in ("front", "effects"):
    assert len(getattr(results, what)())
elif what == "figures":
    import tempfile
    results.figures(tempfile.mkdtemp())
print(len(trials), time.process_time() - begun)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def fill(folder: Path, candidates: int, seeds: int, layout: str, samples: bool) -> None:
    """Write a study's folder, with samples or without."""
    folder.mkdir(parents=True, exist_ok=True)
    trial = min((TEMPLATE / "trials").iterdir())
    record = json.loads((trial / "record.json").read_text())
    curve = json.loads((trial / "curve.json").read_text())
    for name in ("study.yaml", "lock.json"):
        shutil.copy(TEMPLATE / name, folder / name)
    lock = json.loads((folder / "lock.json").read_text())
    lock = {key: value for key, value in lock.items() if key not in ("checksum", "names")}
    lock |= {"baseline": {"backbone.conditioning": CONDITIONINGS[0], "backbone.width": 0}}
    (folder / "lock.json").write_text(json.dumps(lock))
    generator = np.random.default_rng(0)
    images = digits() if samples else None
    shared = generator.normal(0, 0.1, seeds)
    for i in range(candidates):
        cost, mean = float(generator.uniform(0.01, 1)), float(generator.normal(3, 0.5))
        choices = {"backbone.conditioning": CONDITIONINGS[i % 4], "backbone.width": i // 4}
        config_hash = hashlib.sha256(json.dumps(choices).encode()).hexdigest()
        for seed in range(seeds):
            value = mean + shared[seed] + float(generator.normal(0, 0.1))
            rows = [{**row, "value": value * (k + 1)} for k, row in enumerate(record["metrics"])]
            own: dict[str, Any] = {**record, "config_hash": config_hash, "seed": seed, "choices": choices}
            own |= {"trial": f"{config_hash[:12]}-s{seed}", "gflops": cost, "metrics": rows}
            own |= {"params": int(1e6 * cost), "sample_gflops": 64 * cost, "ended": record["ended"] + i}
            points = [{**point, "loss": point["loss"] + float(generator.normal(0, 1e-3))} for point in curve]
            trial = folder / "trials" / own["trial"]
            trial.mkdir(parents=True)
            if images is not None:
                np.save(trial / "samples.npy", images[generator.integers(len(images), size=KEPT)])
            write(trial, own, points, layout)


def digits() -> np.ndarray:
    """Return images of mnist that stand for samples: uint8 (N, 1, 16, 16)."""
    from ablate.discovery.catalog import catalog
    from ablate.kinds.data import Data, load_data
    from ablate.runtime.machine import cache_folder

    return load_data(catalog().create(Data, {"type": "mnist", "size": 16}), cache_folder()).reference_images


def write(trial: Path, record: dict[str, Any], curve: list[dict[str, Any]], layout: str) -> None:
    """Write a trial, without syncing."""
    from ablate.io.files import write_json
    from ablate.io.sealed import sealed

    own = ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs", "sample_gflops", "hashes", "sources")
    job = {"schema": 1, "job": record["trial"], "folder": str(trial), **{key: record[key] for key in own}}
    job |= json.loads((TEMPLATE / "lock.json").read_text()).get("science", {})
    record = {key: value for key, value in record.items() if key not in ("checksum", "files")}
    (trial / ".lock").touch()
    samples = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in trial.glob("samples.npy")}
    if layout == "open":
        write_json(trial / "job.json", sealed(job), durable=False)
        write_json(trial / "curve.json", curve, durable=False)
        content = {name: hashlib.sha256((trial / name).read_bytes()).hexdigest() for name in ("curve.json",)}
        write_json(trial / "record.json", sealed({**record, "files": content | samples}), durable=False)
        return
    from ablate.io import packed
    from ablate.worker import records

    second = records._second_line(record, {records.JOB: job, records.CURVE: curve})
    first = sealed({**record, "files": samples, records.SECOND: hashlib.sha256(second).hexdigest()})
    (trial / records.PACKED).write_bytes(packed.line(first) + second)


def read(folder: Path, what: str) -> dict[str, Any]:
    """Take what a reading takes, in a process of its own."""
    if what == "status":
        told, used = command("status", str(folder))
        return {"trials": int(next(word for word in told.split() if word.isdigit())), **used}
    if what == "report":
        page = folder.with_name(f"{folder.name}.html")
        _, used = command("report", str(folder), "--no-figures", "--out", str(page))
        return {"trials": len(list(folder.glob("trials/*"))), **used, "page_mb": round(page.stat().st_size / 1e6, 2)}
    out = subprocess.run([sys.executable, "-c", READ, what, folder], capture_output=True, text=True, check=True)
    trials, seconds, peak = out.stdout.split()
    return {"trials": int(trials), "seconds": round(float(seconds), 2), "peak_mib": round(float(peak))}


def command(*arguments: str) -> tuple[str, dict[str, Any]]:
    """Run `ablate` with these arguments: what it says, and what the whole command takes with its imports."""
    line = [sys.executable, "-m", "ablate.cli", *arguments]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    assert process.returncode == 0, told
    return told, {"seconds": round(used.ru_utime + used.ru_stime, 2), "peak_mib": used.ru_maxrss // 1024}


def main() -> None:
    parser = bench.options(__doc__, rounds=1)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--layout", choices=("packed", "open"), default="packed")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=READINGS)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name) / "study"
        if not (folder / "trials").is_dir():
            fill(folder, given.candidates, given.seeds, given.layout, samples="report" in given.what)
        files = [file for file in folder.glob("trials/*/*") if file.is_file()]
        trials = len(list(folder.glob("trials/*")))
        size = {
            "files": len(files) / trials,
            "kib_a_trial": round(sum(f.stat().st_size for f in files) / trials / 1024, 1),
        }
        for what in given.what:
            for state in ("first", "again") if what in ("load", "status") else ("again",):
                if state == "first":
                    shutil.rmtree(folder / ".index", ignore_errors=True)
                rows.append(
                    {"layout": given.layout, "what": what, "state": state, "page_mb": "", **size, **read(folder, what)}
                )
                bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, given.csv, add=True)


if __name__ == "__main__":
    main()
