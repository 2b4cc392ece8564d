"""What does quality during training cost? The demo's kind of trial, measured at four points and at its end alone.

    python benchmarks/quality_points.py [--csv FILE] [--rounds 3] [--images 50000]

The baseline of studies/dit_conditioning.yaml, one seed, with `evaluate.at: [0.1, 0.25, 0.5, 1.0]` and without. The two
run side by side, each on one thread, and what is compared is the CPU time of their processes, driver and figures
included. Run one after the other, they meet other work on the machine at different times, which makes the CPU seconds
of equal work differ by up to a half; on two threads beside other work, most of them is one thread waiting for another.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import bench

COLUMNS = ("pair", "images", "four_points_cpu_seconds", "end_cpu_seconds", "ratio")
STUDY = Path(__file__).parents[1] / "studies" / "dit_conditioning.yaml"
POINTS = "[0.1, 0.25, 0.5, 1.0]"


def start(points: str, images: int, out: Path) -> subprocess.Popen[bytes]:
    """Start one trial, driver and worker, on one thread."""
    settings = [
        f"evaluate.at={points}",
        f"budget.images={images}",
        "design.seeds=1",
        "vary={backbone.conditioning: [adaln_zero]}",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "ablate.cli", "run", str(STUDY), *options, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, "--executor", "local"], stdout=subprocess.DEVNULL, env=environment)


def cpu_seconds(runs: dict[str, str], images: int, folder: Path) -> dict[str, float]:
    """Run a trial for each of `runs` ({name: points}) side by side; return the CPU time of each one's processes.

    Where one is done, another takes its place until all are, so that none is alone at its end.
    """
    started = {name: start(points, images, folder / name) for name, points in runs.items()}
    running = {process.pid: name for name, process in started.items()}
    processes = list(started.values())
    spent: dict[str, float] = {}
    try:
        while running:
            pid, status, used = os.wait4(-1, 0)
            if (name := running.pop(pid, None)) is None:
                continue
            if status:
                raise RuntimeError(f"the run {name!r} failed")
            spent[name] = used.ru_utime + used.ru_stime
            if running:
                processes.append(start("[]", images, folder / f"beside{len(processes)}"))
    finally:
        for process in processes:
            process.terminate()
            process.wait()
    return spent


def main() -> None:
    parser = bench.options(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=50_000)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(arguments.rounds):
            names = {"four": POINTS, "end": "[]"}
            spent = cpu_seconds(names, arguments.images, Path(folder) / str(pair))
            four, end = spent["four"], spent["end"]
            rows.append(
                {
                    "pair": pair,
                    "images": arguments.images,
                    "four_points_cpu_seconds": round(four, 1),
                    "end_cpu_seconds": round(end, 1),
                    "ratio": round(four / end, 4),
                }
            )
            bench.show(rows[-1], COLUMNS)
    print(f"median ratio {statistics.median(row['ratio'] for row in rows):.3f}")
    bench.keep(rows, COLUMNS, arguments.csv)


if __name__ == "__main__":
    main()
