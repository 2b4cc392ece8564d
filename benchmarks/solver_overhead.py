"""What a solver step costs beyond its network calls: sampling beside the same calls of the bare network.

    python benchmarks/solver_overhead.py [--csv FILE] [--device cuda] [--limit 1.05] [--clock cpu]

Each round samples a batch with a solver, and calls the same network as often on the same shapes,
one right after the other and in turns first; the figure is the median over the rounds of the ratio
of the two times. Both run the network of studies/dit_conditioning.yaml under inference mode. Under
cfg a call looks at twice the batch, and so does the bare one. Ends with 1 where a ratio is above
--limit. `--clock cpu` counts the process's own seconds, for a machine that is not quiet.
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

import torch
from torch import Tensor, nn

from ablate.candidate import Candidate, compose
from ablate.registry import catalog
from ablate.study.load import load_study

STUDY = Path(__file__).parents[1] / "studies" / "dit_conditioning.yaml"
COLUMNS = ("solver", "guidance", "device", "threads", "batch", "nfe", "sampling_ms", "network_ms", "ratio", "rounds")


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(work: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - begun


def measure(
    candidate: Candidate,
    network: nn.Module,
    shape: tuple[int, int, int],
    classes: int,
    batch: int,
    rounds: int,
    clock: Callable[[], float],
) -> dict[str, Any]:
    """One row: the solver and guidance of the candidate."""
    device = next(network.parameters()).device
    process, solver = candidate.process(0.5), candidate.solver
    labels = torch.arange(batch, device=device) % classes
    latents = torch.randn(batch, *shape, device=device)
    widths: list[int] = []

    def watched(x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        widths.append(len(x))
        return network(x, noise, labels)

    def sample(called: Callable[..., Tensor]) -> None:
        generator = torch.Generator(device).manual_seed(0)
        denoise = process.denoiser(called, candidate.guidance, labels, classes)
        for _ in solver.sample(denoise, process.prior(latents), candidate.schedule, generator):
            pass

    sample(watched)  # also warms up
    inputs = {width: torch.randn(width, *shape, device=device) for width in set(widths)}
    noises = {width: torch.full((width,), 500.0, device=device) for width in set(widths)}
    classes_of = {width: torch.arange(width, device=device) % classes for width in set(widths)}

    def bare() -> None:
        for width in widths:
            network(inputs[width], noises[width], classes_of[width])

    bare()
    pairs = []
    for i in range(rounds):  # in turns, so that a drift of the machine's speed falls on both
        if i % 2:
            plain = seconds(bare, device, clock)
            pairs.append((seconds(lambda: sample(network), device, clock), plain))
        else:
            whole = seconds(lambda: sample(network), device, clock)
            pairs.append((whole, seconds(bare, device, clock)))
    return {
        "solver": solver.name,
        "guidance": candidate.guidance.describe(),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "batch": batch,
        "nfe": len(widths),
        "sampling_ms": round(1e3 * statistics.median(a for a, _ in pairs), 3),
        "network_ms": round(1e3 * statistics.median(b for _, b in pairs), 3),
        "ratio": round(statistics.median(a / b for a, b in pairs), 4),
        "rounds": rounds,
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--csv", type=Path, help="write the rows here")
    options.add_argument("--device", default="cpu")
    options.add_argument("--batch", type=int, default=250, help="images at a time; 250 is what a study samples with")
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--limit", type=float, default=1.05, help="the most that a ratio may be")
    options.add_argument("--clock", choices=CLOCKS, default="wall")
    asked = options.parse_args()

    study, known = load_study(STUDY), catalog()
    shape, classes = study.question.setting.shape, study.question.setting.classes
    assert classes is not None
    base = study.study.base.spec()
    torch.manual_seed(0)
    with torch.device(asked.device):
        network = study.study.base.backbone.build(study.question.setting).eval()
    rows = []
    with torch.inference_mode():
        for solver in known.names("solver"):
            for guidance in ("none", "cfg"):
                spec = {**base, "schedule": "linear", "solver": {"type": solver, "steps": asked.steps}}
                candidate = compose({**spec, "guidance": guidance}, known)
                rows.append(measure(candidate, network, shape, classes, asked.batch, asked.rounds, CLOCKS[asked.clock]))
                print("  ".join(f"{name} {rows[-1][name]}" for name in COLUMNS), flush=True)
    if asked.csv is not None:
        with asked.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    slow = [f"{row['solver']} with {row['guidance']}: {row['ratio']}" for row in rows if row["ratio"] > asked.limit]
    print(f"above {asked.limit}: {', '.join(slow)}" if slow else f"every ratio is at most {asked.limit}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
