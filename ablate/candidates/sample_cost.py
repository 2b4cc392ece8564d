"""The cost of drawing one sample: network evaluations (NFE), those that guidance adds, and guidance's own network."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ablate.kinds.guidance import Guidance, TrainedGuidance
from ablate.kinds.noised import Denoised, Level
from ablate.kinds.schedule import Schedule
from ablate.kinds.solver import Solver
from ablate.spec.component import InputSpec

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.candidates.candidate import Candidate


def sample_gflops(candidate: Candidate, setting: InputSpec, gflops: float | None) -> float | None:
    """Return the Gflops to draw one sample: NFE · (calls under guidance · gflops + those of guidance's own network).

    None where the network's are not known. Means over the levels of the solver's own grid.
    """
    if gflops is None:
        return None
    schedule = candidate.schedule.for_setting(setting)
    calls, companion_gflops = _of_guidance(candidate.guidance, candidate.solver, schedule, setting)
    return candidate.solver.nfe() * (calls * gflops + companion_gflops)


@lru_cache(maxsize=1024)
def _of_guidance(guidance: Guidance, solver: Solver, schedule: Schedule, setting: InputSpec) -> tuple[float, float]:
    """Return the images that pass through the network for one evaluation under guidance, and the companion's Gflops."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network_images = 0

    def predict(x: Tensor, labels: Tensor | None) -> Tensor:
        nonlocal network_images
        network_images += len(x)
        return torch.zeros_like(x)

    companion_images, macs = 0, 0.0
    network = None
    if isinstance(guidance, TrainedGuidance):
        with torch.random.fork_rng(devices=[]):  # its initial weights are nobody's
            network = guidance.companion(setting)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, *setting.shape), torch.zeros(1))
        macs = counter.get_total_flops() / 2

    def companion(seen: Tensor) -> Tensor:
        nonlocal companion_images
        companion_images += len(seen)
        assert network is not None
        output: Tensor = network(seen, torch.zeros(len(seen)))
        return output

    labels = None if setting.classes is None else torch.zeros(1, dtype=torch.int64)
    points = solver.points(schedule)[:-1]
    for point in points:
        level = Level(*(torch.tensor(value, dtype=torch.float64) for value in point))
        x = torch.zeros(1, *setting.shape)
        guidance.predict(predict, x, labels, setting.classes or 0, level)
        if network is not None:
            guidance.shift(companion, Denoised(x, x), x, labels, level)
    # The companion is asked for a gradient by its input, which costs about what its output does.
    return network_images / len(points), 2 * companion_images * macs / len(points) / 1e9
