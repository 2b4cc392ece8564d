"""What does quality during training cost? The demo's kind of trial, measured at four points and at its end alone.

    python benchmarks/quality_points.py [--csv FILE] [--rounds 3] [--images 50000]

The baseline of studies/dit_conditioning.yaml, one seed, with `evaluate.at: [0.1, 0.25, 0.5, 1.0]` and without, in turn.
Each run is a process of its own on one thread; what is compared is its CPU time, of which other work on the machine
takes no part.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import bench

COLUMNS = ("pair", "images", "four_points_cpu_seconds", "end_cpu_seconds", "ratio")
STUDY = Path(__file__).parents[1] / "studies" / "dit_conditioning.yaml"
POINTS = "[0.1, 0.25, 0.5, 1.0]"


def cpu_seconds(points: str, images: int, out: Path) -> float:
    """Run one trial, and return the CPU time of its process and the processes below it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    settings = [
        f"evaluate.at={points}",
        f"budget.images={images}",
        "design.seeds=1",
        "vary={backbone.conditioning: [adaln_zero]}",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "ablate.cli", "run", str(STUDY), *options, "--out", str(out)]
    subprocess.run([*command, "--executor", "local", "--workers", "1"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = bench.options(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=50_000)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(arguments.rounds):
            four = cpu_seconds(POINTS, arguments.images, Path(folder) / f"four{pair}")
            end = cpu_seconds("[]", arguments.images, Path(folder) / f"end{pair}")
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
