"""What a solver step costs beyond its network calls: sampling beside the same calls of the bare network.

    python benchmarks/solver_overhead.py [--csv FILE] [--device cuda] [--limit 1.05] [--clock cpu]

Each round samples a batch with a solver, and calls the same network as often on the same shapes,
one right after the other and in turns first; the figure is the median over the rounds of the ratio
of the two times. Both run the network of studies/dit_conditioning.yaml under inference mode. Under
cfg a call looks at twice the batch, and so does the bare one. Ends with 1 where a ratio is above
--limit. `--clock cpu` counts the process's own seconds, for a machine that is not quiet.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench
import torch
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate, compose
from ablate.discovery.catalog import catalog
from ablate.study.load import load_study

STUDY = Path(__file__).parents[1] / "studies" / "dit_conditioning.yaml"
COLUMNS = ("solver", "guidance", "device", "threads", "batch", "nfe", "sampling_ms", "network_ms", "ratio", "rounds")


def measure(
    candidate: Candidate,
    network: nn.Module,
    shape: tuple[int, int, int],
    classes: int,
    batch: int,
    rounds: int,
    clock: str,
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
        for _ in solver.sample(
            denoise, process.prior(latents, solver.start(candidate.schedule).t), candidate.schedule, generator
        ):
            pass

    sample(watched)  # also warms up
    inputs = {width: torch.randn(width, *shape, device=device) for width in set(widths)}
    noises = {width: torch.full((width,), 500.0, device=device) for width in set(widths)}
    classes_of = {width: torch.arange(width, device=device) % classes for width in set(widths)}

    def bare() -> None:
        for width in widths:
            network(inputs[width], noises[width], classes_of[width])

    bare()
    watch, works = bench.Stopwatch(device, clock), {"sampling": lambda: sample(network), "network": bare}
    turns = [watch.turn(works, number) for number in range(rounds)]
    return {
        "solver": solver.name,
        "guidance": candidate.guidance.describe(),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "batch": batch,
        "nfe": len(widths),
        "sampling_ms": round(1e3 * statistics.median(turn["sampling"] for turn in turns), 3),
        "network_ms": round(1e3 * statistics.median(turn["network"] for turn in turns), 3),
        "ratio": round(statistics.median(turn["sampling"] / turn["network"] for turn in turns), 4),
        "rounds": rounds,
    }


def main() -> int:
    options = bench.options(__doc__, rounds=15)
    options.add_argument("--batch", type=int, default=250, help="images at a time; 250 is what a study samples with")
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--limit", type=float, default=1.05, help="the most that a ratio may be")
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
                rows.append(measure(candidate, network, shape, classes, asked.batch, asked.rounds, asked.clock))
                bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, asked.csv)
    return bench.at_most(asked.limit, {f"{row['solver']} with {row['guidance']}": row["ratio"] for row in rows})


if __name__ == "__main__":
    sys.exit(main())
