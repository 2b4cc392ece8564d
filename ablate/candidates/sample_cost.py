"""What drawing one sample costs: calls of the network, those that guidance adds, and guidance's own network."""

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
    """Gflops to draw one sample, in the convention of `gflops`: NFE · (calls under guidance · gflops + companion's).

    None where the network's are not known. Means over the levels of the solver's own grid.
    """
    if gflops is None:
        return None
    calls, beside = _of_guidance(candidate.guidance, candidate.solver, candidate.schedule, setting)
    return candidate.solver.nfe() * (calls * gflops + beside)


@lru_cache(maxsize=1024)
def _of_guidance(guidance: Guidance, solver: Solver, schedule: Schedule, setting: InputSpec) -> tuple[float, float]:
    """Images that the network looks at for one evaluation, and the companion's multiply-accumulates, in 1e9."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    looked = 0

    def predict(x: Tensor, labels: Tensor | None) -> Tensor:
        nonlocal looked
        looked += len(x)
        return torch.zeros_like(x)

    judged, macs = 0, 0.0
    network = None
    if isinstance(guidance, TrainedGuidance):
        with torch.random.fork_rng(devices=[]):  # its initial weights are nobody's
            network = guidance.companion(setting)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, *setting.shape), torch.zeros(1))
        macs = counter.get_total_flops() / 2

    def judge(seen: Tensor) -> Tensor:
        nonlocal judged
        judged += len(seen)
        assert network is not None
        output: Tensor = network(seen, torch.zeros(len(seen)))
        return output

    labels = None if setting.classes is None else torch.zeros(1, dtype=torch.int64)
    points = solver.points(schedule)[:-1]
    for point in points:
        level = Level(*(torch.tensor(held, dtype=torch.float64) for held in point))
        x = torch.zeros(1, *setting.shape)
        guidance.predict(predict, x, labels, setting.classes or 0, level)
        if network is not None:
            guidance.shift(judge, Denoised(x, x), x, labels, level)
    # The companion is asked for a gradient by its input, which costs about what its output does.
    return looked / len(points), 2 * judged * macs / len(points) / 1e9
