"""A study whose seeds are trained as one (a pack) beside the same study on two workers: what a user waits and pays for.

    python benchmarks/packed_studies.py --csv benchmarks/packed_studies.csv

A DiT on `digits` at 16×16, trained by the same seeds in three ways, each run by `ablate.run` in a process and a folder
of its own, in turns: `one worker` (executor `local`, one seed after the other), `workers` (executor `ray` with two
workers) and `pack` (`local` with all seeds in one pack). Seconds of CPU are those of the process and of all that it
starts, from start to end; ratios are medians over the rounds of a way over `one worker`. `train_seconds` and `loss` are
the sum and the mean over the trials of the last round. `local` takes as many threads as there are cores,
whose waiting counts as CPU time on a busy machine: OMP_NUM_THREADS=1 gives every way the same.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import bench
import pandas as pd
import psutil
import torch

import ablate

COLUMNS = ("way", "seeds", "wall_seconds", "cpu_seconds", "train_seconds", "wall_ratio", "cpu_ratio", "loss")
COLUMNS += ("depth", "width", "batch", "images", "rounds", "torch")
SHOWN = COLUMNS[:8]
LOOK = 0.1  # seconds between two looks at the processes
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux: who outlives its parent becomes a child of this process
CODE = "import json, sys, ablate; ablate.run(json.loads(sys.argv[1]), out=sys.argv[2])"


def study(asked: argparse.Namespace, executor: Mapping[str, Any]) -> dict[str, Any]:
    backbone = {"type": "dit", "patch": 2, "depth": asked.depth, "width": asked.width, "heads": 2}
    return {
        "study": "packed",
        "question": "What does it take to train these seeds?",
        "data": {"type": "digits", "size": 16},
        "base": {"backbone": backbone, "clip": "global_norm", "batch": asked.batch},
        "vary": {"backbone.depth": [asked.depth]},
        "design": {"type": "grid", "seeds": asked.seeds},
        "budget": {"images": asked.images},
        "evaluate": {"metrics": [], "samples": 1, "previews": 0},
        "objectives": ["loss"],
        "executor": dict(executor),
    }


def seconds(command: list[str]) -> tuple[float, float]:
    """Seconds on the wall and of CPU that a command takes, with all processes that it starts."""
    taken: dict[tuple[int, float], float] = {}
    own, begun = psutil.Process(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while (code := process.poll()) is None:
            for one in own.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    times = one.cpu_times()
                    taken[one.pid, one.create_time()] = times.user + times.system
            time.sleep(LOOK)
    if code:
        raise SystemExit(f"a study ended with exit code {code}")
    return time.perf_counter() - begun, sum(taken.values())


def main() -> int:
    parser = bench.options(__doc__, rounds=3)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=3200)
    parser.add_argument("--most", type=float, default=1.05, help="of a pack's CPU seconds over those of one worker")
    asked = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1)
    ways: dict[str, dict[str, Any]] = {
        "one worker": {"type": "local"},
        "workers": {"type": "ray", "workers": 2},
        "pack": {"type": "local", "pack": asked.seeds},
    }
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    trials: dict[str, pd.DataFrame] = {}
    rows: list[dict[str, Any]] = []
    for number in range(asked.rounds):
        for way in list(ways) if number % 2 else list(ways)[::-1]:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-c", CODE, json.dumps(study(asked, ways[way])), folder]
                taken[way].append(seconds(command))
                trials[way] = ablate.load(folder).trials
        rows = [row(way, taken, trials[way], asked) for way in ways]
        for one in rows:
            bench.show(one, SHOWN)
        bench.keep(rows, COLUMNS, asked.csv)
    return bench.at_most(asked.most, {"pack": float(rows[-1]["cpu_ratio"])})


def row(
    way: str, taken: Mapping[str, list[tuple[float, float]]], trials: pd.DataFrame, asked: argparse.Namespace
) -> dict[str, Any]:
    """What one way took in the rounds so far."""
    wall, cpu = zip(*taken[way], strict=True)
    pairs = list(zip(taken[way], taken["one worker"], strict=True))
    ratios = [statistics.median(one[at] / other[at] for one, other in pairs) for at in (0, 1)]
    return {
        "way": way,
        "seeds": asked.seeds,
        "wall_seconds": f"{statistics.median(wall):.1f}",
        "cpu_seconds": f"{statistics.median(cpu):.1f}",
        "train_seconds": f"{trials['train_seconds'].sum():.1f}",
        "wall_ratio": f"{ratios[0]:.3f}",
        "cpu_ratio": f"{ratios[1]:.3f}",
        "loss": f"{trials['loss'].mean():.6f}",
        **{name: getattr(asked, name) for name in ("depth", "width", "batch", "images")},
        "rounds": len(cpu),
        "torch": torch.__version__.partition("+")[0],
    }


if __name__ == "__main__":
    sys.exit(main())
