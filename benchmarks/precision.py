"""What a number format costs and saves: images a second, and the memory of training, of fp32, bf16 and fp16.

    python benchmarks/precision.py [--csv FILE] [--device cuda] [--profile gpu] [--set PATH=VALUE]... [--rounds 10]

Trains the base of studies/precision.yaml (with `--profile gpu` at the scale that is meant for a GPU) in
each format on the study's own data, with its activations kept and with them computed again. The
figures: images a second over the median step, the same relative to fp32, the estimated memory, the
measured memory (allocated on a GPU; on the CPU what the process's resident peak rises by, with a fresh
learner for each format), and the steps that loss scaling skipped. Memory of the CPU is of one process
that trains all: it is right to about 10 MB.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import bench
import torch

from ablate.candidates.candidate import Candidate
from ablate.discovery.catalog import catalog
from ablate.runtime.memory import Gauge
from ablate.study.launch import cache_folder
from ablate.study.load import load_study
from ablate.training.learner import Images, Learner
from ablate.training.memory_estimate import footprint

STUDY = Path(__file__).parents[1] / "studies" / "precision.yaml"
COLUMNS = (
    *("precision", "recompute", "device", "threads", "batch", "params", "step_ms", "images_per_second"),
    *("of_fp32", "estimated_mb", "measured_mb", "skipped", "steps"),
)


def steps(learner: Learner, count: int, clock: str) -> tuple[list[float], int]:
    """Seconds of each step, and how many were skipped."""
    watch, norms = bench.Stopwatch(learner.device, clock), []
    found = [watch(lambda: norms.append(learner.step(1e9).gradient_norm)) for _ in range(count)]
    return found, sum(not bool(torch.isfinite(norm)) for norm in norms)


def measure(candidate: Candidate, study: Any, images: Images, asked: argparse.Namespace) -> dict[str, Any]:
    device, count, setting = torch.device(asked.device), asked.rounds, study.question.setting
    gauge = Gauge(device)
    gauge.begin_training()
    learner = Learner(candidate, setting, images, 0, device, None)
    learner.network.train()
    for _ in range(2):  # picks kernels, fills caches
        steps(learner, 1, asked.clock)
        gauge.step_done()
    taken, skipped = steps(learner, count, asked.clock)
    gauge.end_training()
    median = statistics.median(taken)
    return {
        "precision": candidate.precision.name,
        "recompute": candidate.recompute,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "batch": candidate.batch,
        "params": sum(p.numel() for p in learner.parameters),
        "step_ms": round(1e3 * median, 2),
        "images_per_second": round(candidate.batch / median, 1),
        "estimated_mb": round(footprint(candidate, setting, device.type).total / 1e6, 1),
        "measured_mb": None if gauge.training is None else round(gauge.training / 1e6, 1),
        "skipped": skipped,
        "steps": count,
    }


def main() -> None:
    options = bench.options(__doc__, rounds=10)
    options.add_argument("--profile")
    options.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="of the study")
    options.add_argument("--threads", type=int)
    asked = options.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)

    study, known = load_study(STUDY, overrides=asked.set, profile=asked.profile), catalog()
    images = Images(study.question.data.load(cache_folder()), torch.device(asked.device))
    rows = []
    for recompute in (False, True):
        for name in ("fp32", "bf16", "fp16"):
            changed = {"precision": known.create("precision", name), "recompute": recompute}
            row = measure(study.study.base.model_copy(update=changed), study, images, asked)
            row["of_fp32"] = round(row["images_per_second"] / (rows or [row])[0]["images_per_second"], 3)
            rows.append(row)
            bench.show(row, COLUMNS)
    bench.keep(rows, COLUMNS, asked.csv)


if __name__ == "__main__":
    main()
