"""What probes cost: training with all of them at their default interval, over training without.

    python benchmarks/probes.py [--csv FILE] [--device cuda] [--model large] [--limit 1.03] [--clock cpu]

Steps with all probes and steps without are taken in turns, one by one, and every eighth of the former
is observed. What an observed step takes above one that is not is laid over as many steps as lie between two
observations by default (the densest that they ever stand); what the probes do in each other step, `idle`,
is timed by itself, because it is some microseconds in a step of many milliseconds:

    ratio = 1 + ((observed − unobserved) / steps + idle) / plain

with the medians over all steps of each sort. `small` is the network and batch of
studies/dit_conditioning.yaml on 16×16 pixels, `unet` a small U-Net with attention and fusions, `large` a DiT of
33 M parameters on 4×32×32. Ends with 1 where a ratio is above --limit. `--clock cpu` counts the
process's own seconds, for a machine that is not quiet.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ablate.candidate import compose
from ablate.component import Setting
from ablate.images import Images
from ablate.kinds.data import Dataset
from ablate.kinds.probe import Probe
from ablate.probing import SPACING, SPACING_IMAGES, Probing
from ablate.registry import catalog
from ablate.train import Learner

MODELS: dict[str, tuple[dict[str, Any], tuple[int, int, int], int]] = {
    "small": ({"type": "dit", "patch": 4, "depth": 4, "width": 128, "heads": 4}, (1, 16, 16), 64),
    "unet": ({"type": "unet", "width": 16, "multipliers": [1, 2], "blocks": 1}, (1, 16, 16), 64),
    "large": ({"type": "dit", "patch": 2, "depth": 12, "width": 384, "heads": 6}, (4, 32, 32), 256),
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
COLUMNS = (
    *("model", "precision", "device", "threads", "parameters", "batch", "steps"),
    *("plain_ms", "unobserved_ms", "observed_ms", "idle_us", "ratio", "rounds"),
)
HORIZON = 1e9  # images of a training that is not over
CYCLE = 8  # steps of which one is observed


class Run:
    """A training that goes on, with probes or without."""

    def __init__(
        self,
        spec: dict[str, Any],
        model: str,
        device: torch.device,
        clock: Callable[[], float],
        probes: list[Probe],
    ) -> None:
        backbone, shape, batch = MODELS[model]
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (1024, *shape), dtype=np.uint8)
        data = Dataset(pixels, np.arange(1024) % 10, pixels[:0], None, 10, "0" * 64)
        candidate = compose({"backbone": backbone, "batch": batch, "clip": "global_norm", **spec}, catalog())
        self.learner = Learner(candidate, Setting(shape, 10), Images(data, device), 0, device, None)
        self.learner.network.train()
        self.probes = probes
        self.probing = Probing(probes, 0)
        self.device = device
        self.clock = clock

    def step(self) -> float:
        """Seconds of one step, as training takes it, and of reading what it gave."""
        begun = self.clock()
        step = self.learner.step(HORIZON, self.probing.before(self.learner, HORIZON, False))
        loss, norm = torch.stack([step.loss, step.gradient_norm]).tolist()
        self.probing.step(step.images, loss, norm)
        self.probing.settle()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock() - begun

    def idle(self, count: int = 2000) -> float:
        """Seconds of all that the probes do in a step in which none of them looks."""
        seen = self.learner.images_seen
        probing = Probing(self.probes, 0)
        probing.load({"next": {probe.name: seen + 1 for probe in self.probes}})
        begun = self.clock()
        for _ in range(count):
            probing.before(self.learner, HORIZON, False)
            probing.step(seen, 1.0, 1.0)
            probing.settle()
        return (self.clock() - begun) / count


def measure(
    model: str, precision: str, device: torch.device, rounds: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """One row."""
    known, batch = catalog(), MODELS[model][2]
    specs = [{"type": name, "every": CYCLE * batch} for name in known.names("probe")]
    probes = [probe for spec in specs if isinstance(probe := known.create("probe", spec), Probe)]
    spec = {"precision": precision, "optimizer": {"type": "adamw", "lr": 1e-4}}
    watched, alone = Run(spec, model, device, clock, probes), Run(spec, model, device, clock, [])
    plain, unobserved, observed = [], [], []
    for i in range(-1, rounds):  # the first round warms up
        for j in range(CYCLE):
            seen = len(watched.probing.rows())
            pair = [run.step() for run in ((watched, alone) if j % 2 else (alone, watched))]
            with_, without = pair if j % 2 else reversed(pair)
            assert (len(watched.probing.rows()) > seen) == (j == 0), "a step was observed that should not be"
            if i >= 0:
                plain.append(without)
                (unobserved if j else observed).append(with_)
    steps = max(SPACING, -(-SPACING_IMAGES // batch))
    p, u, o = (statistics.median(times) for times in (plain, unobserved, observed))
    idle = watched.idle()
    return {
        "model": model,
        "precision": precision,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "parameters": sum(q.numel() for q in watched.learner.network.parameters()),
        "batch": batch,
        "steps": steps,
        "plain_ms": round(1e3 * p, 3),
        "unobserved_ms": round(1e3 * u, 3),
        "observed_ms": round(1e3 * o, 3),
        "idle_us": round(1e6 * idle, 1),
        "ratio": round(1 + ((o - u) / steps + idle) / p, 4),
        "rounds": rounds,
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--csv", type=Path, help="add the rows to this file")
    options.add_argument("--device", default="cpu")
    options.add_argument("--model", choices=MODELS, action="append", help="again for several; all but large by default")
    options.add_argument("--precision", default="fp32")
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--limit", type=float, default=1.03, help="the most that a ratio may be")
    options.add_argument("--clock", choices=CLOCKS, default="wall")
    asked = options.parse_args()
    rows = []
    for model in asked.model or ("small", "unet"):
        rows.append(measure(model, asked.precision, torch.device(asked.device), asked.rounds, CLOCKS[asked.clock]))
        print("  ".join(f"{name} {rows[-1][name]}" for name in COLUMNS), flush=True)
    if asked.csv is not None:
        fresh = not asked.csv.exists()
        with asked.csv.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerows(rows)
    slow = [f"{row['model']}: {row['ratio']}" for row in rows if row["ratio"] > asked.limit]
    print(f"above {asked.limit}: {', '.join(slow)}" if slow else f"every ratio is at most {asked.limit}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
