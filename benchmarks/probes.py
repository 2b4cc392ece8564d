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

import statistics
import sys
from typing import Any

import bench
import numpy as np
import torch

from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.kinds.data import Dataset
from ablate.kinds.probe import SPACING, SPACING_IMAGES, Probe
from ablate.spec.component import InputSpec
from ablate.training.images import Images
from ablate.training.learner import Learner
from ablate.training.probing import Probing

MODELS: dict[str, tuple[dict[str, Any], tuple[int, int, int], int]] = {
    "small": ({"type": "dit", "patch": 4, "depth": 4, "width": 128, "heads": 4}, (1, 16, 16), 64),
    "unet": ({"type": "unet", "width": 16, "multipliers": [1, 2], "blocks": 1}, (1, 16, 16), 64),
    "large": ({"type": "dit", "patch": 2, "depth": 12, "width": 384, "heads": 6}, (4, 32, 32), 256),
}
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
        watch: bench.Stopwatch,
        probes: list[Probe],
    ) -> None:
        backbone, shape, batch = MODELS[model]
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (1024, *shape), dtype=np.uint8)
        data = Dataset(pixels, np.arange(1024) % 10, pixels[:0], None, 10, "0" * 64)
        candidate = compose({"backbone": backbone, "batch": batch, "clip": "global_norm", **spec}, catalog())
        self.learner = Learner(candidate, InputSpec(shape, 10), Images(data, device), 0, device, None)
        self.learner.network.train()
        self.probes = probes
        self.probing = Probing(probes, 0)
        self.watch = watch

    def step(self) -> None:
        """One step, as training takes it, and reading what it gave."""
        step = self.learner.step(HORIZON, self.probing.before(self.learner, HORIZON, False))
        loss, norm = torch.stack([step.loss, step.gradient_norm]).tolist()
        self.probing.step(step.images, loss, norm)
        self.probing.settle()

    def idle(self, count: int = 2000) -> float:
        """Seconds of all that the probes do in a step in which none of them looks."""
        seen = self.learner.images_seen
        probing = Probing(self.probes, 0)
        probing.load({"next": {probe.name: seen + 1 for probe in self.probes}})

        def pass_by() -> None:
            for _ in range(count):
                probing.before(self.learner, HORIZON, False)
                probing.step(seen, 1.0, 1.0)
                probing.settle()

        return self.watch(pass_by) / count


def measure(model: str, precision: str, device: torch.device, rounds: int, clock: str) -> dict[str, Any]:
    """One row."""
    known, batch = catalog(), MODELS[model][2]
    specs = [{"type": name, "every": CYCLE * batch} for name in known.names("probe")]
    probes = [probe for spec in specs if isinstance(probe := known.create("probe", spec), Probe)]
    spec = {"precision": precision, "optimizer": {"type": "adamw", "lr": 1e-4}}
    watch = bench.Stopwatch(device, clock)
    watched, alone = Run(spec, model, device, watch, probes), Run(spec, model, device, watch, [])
    plain, unobserved, observed = [], [], []
    for i in range(-1, rounds):  # the first round warms up
        for j in range(CYCLE):
            seen = len(watched.probing.rows())
            turn = watch.turn({"alone": alone.step, "watched": watched.step}, j)
            assert (len(watched.probing.rows()) > seen) == (j == 0), "a step was observed that should not be"
            if i >= 0:
                plain.append(turn["alone"])
                (unobserved if j else observed).append(turn["watched"])
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
    options = bench.options(__doc__, rounds=10)
    options.add_argument("--model", choices=MODELS, action="append", help="again for several; all but large by default")
    options.add_argument("--precision", default="fp32")
    options.add_argument("--limit", type=float, default=1.03, help="the most that a ratio may be")
    asked = options.parse_args()
    rows = []
    for model in asked.model or ("small", "unet"):
        rows.append(measure(model, asked.precision, torch.device(asked.device), asked.rounds, asked.clock))
        bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, asked.csv, add=True)
    return bench.at_most(asked.limit, {row["model"]: row["ratio"] for row in rows})


if __name__ == "__main__":
    sys.exit(main())
