"""The cost of drawing one sample: network evaluations (NFE), those that guidance adds, and guidance's own networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ablate.kinds.backbone import Backbone
from ablate.kinds.conditions import Labels, class_labels, told_zeros
from ablate.kinds.guidance import Guidance, TrainedGuidance
from ablate.kinds.guides import DenoisedGuidance, Denoisers, WeakerGuidance
from ablate.kinds.noised import Denoised, Level
from ablate.kinds.schedule import Schedule
from ablate.kinds.solver import Point, Solver
from ablate.spec.component import InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ablate.candidates.candidate import Candidate


class Calls(NamedTuple):
    """What guidance asks of networks for one evaluation of one image, a mean over noise levels."""

    network: float  # images that pass through the network
    weaker: float = 0.0  # ... through the weaker network of a `WeakerGuidance`
    companion: float = 0.0  # ... through the companion of a `TrainedGuidance`


def sample_gflops(candidate: Candidate, setting: InputSpec, gflops: float | None) -> float | None:
    """Return the Gflops to draw one sample: NFE · (calls under guidance · gflops + those of guidance's own networks).

    None where the network's are not known. Means over the levels of the solver's own grid.
    """
    if gflops is None:
        return None
    setting = candidate.inputs(setting)
    guidance, solver = candidate.guidance, candidate.solver
    schedule = candidate.schedule.for_setting(setting)
    calls = calls_of(guidance, _grid(solver, schedule), setting)
    each = calls.network * gflops
    if calls.weaker and isinstance(guidance, WeakerGuidance):
        each += calls.weaker * _weaker_gflops(guidance, candidate.backbone, setting)
    if calls.companion and isinstance(guidance, TrainedGuidance):
        # The companion is asked for a gradient by its input, which costs about what its output does.
        each += 2 * calls.companion * _companion_gflops(guidance, setting)
    return solver.nfe() * each


@lru_cache(maxsize=1024)
def _grid(solver: Solver, schedule: Schedule) -> tuple[Point, ...]:
    """Return the levels at which a solver calls the denoiser."""
    return tuple(solver.points(schedule)[:-1])


@lru_cache(maxsize=1024)
def calls_of(guidance: Guidance, points: tuple[Point, ...], setting: InputSpec) -> Calls:
    """Count the calls of networks at these noise levels, by letting the guidance ask at each."""
    import torch

    asked = Counter[str]()

    def count(who: str, x: Tensor) -> Tensor:
        asked[who] += len(x)
        return torch.zeros_like(x)

    def view(who: str) -> Callable[[Tensor, Labels], Denoised]:
        return lambda x, labels: Denoised(count(who, x), x)

    labels = told_zeros(setting, 1, torch.device("cpu"))
    x, null = torch.zeros(1, *setting.shape), setting.classes or 0
    companion = None
    if isinstance(guidance, TrainedGuidance):
        with torch.random.fork_rng(devices=[]):  # its initial weights are nobody's
            companion = guidance.companion(setting)
    guide = guidance.begin() if isinstance(guidance, DenoisedGuidance) else None
    for point in points:
        level = Level(*(torch.tensor(value, dtype=torch.float64) for value in point))
        if guide is not None:
            weaker = view("weaker") if isinstance(guidance, WeakerGuidance) else None
            guide(Denoisers(view("network"), weaker), x, labels, null, level)
            continue
        guidance.predict(lambda x, labels: count("network", x), x, labels, null, level)
        if companion is not None:
            module = companion

            def judge(seen: Tensor, module: nn.Module = module) -> Tensor:
                count("companion", seen)
                output: Tensor = module(seen, torch.zeros(len(seen)))
                return output

            guidance.shift(judge, Denoised(x, x), x, class_labels(labels), level)
    return Calls(*(asked[who] / len(points) for who in Calls._fields))


@lru_cache(maxsize=1024)
def _weaker_gflops(guidance: WeakerGuidance, backbone: Backbone, setting: InputSpec) -> float:
    """Count the weaker network on the meta device."""
    from ablate.candidates.candidate import meta_network
    from ablate.candidates.flops import measure

    sibling = guidance.sibling(backbone, setting)
    network = meta_network(backbone if sibling is None else sibling.backbone, setting)
    return measure(guidance.weaken(network), setting).gflops


@lru_cache(maxsize=1024)
def _companion_gflops(guidance: TrainedGuidance, setting: InputSpec) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.random.fork_rng(devices=[]):
        network = guidance.companion(setting)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *setting.shape), torch.zeros(1))
    macs: float = counter.get_total_flops() / 2
    return macs / 1e9
