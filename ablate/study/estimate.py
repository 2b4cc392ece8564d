"""Estimates of a trial's memory and time, from counts and one short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ablate.candidates.candidate import Candidate, cost_of
from ablate.candidates.objectives import TRAIN_PASSES
from ablate.candidates.sample_cost import Calls, calls_of
from ablate.candidates.trial import TrialSettings
from ablate.kinds.guidance import Guidance
from ablate.kinds.precision import Precision
from ablate.kinds.schedule import Schedule
from ablate.spec.component import InputSpec

if TYPE_CHECKING:
    import torch

    from ablate.candidates.flops import Cost

EFFICIENCY = 0.4  # the share of a plain matrix product's rate that a whole training step reaches
MEASURE_SECONDS = 0.15  # and more, up to the second number, on a machine so busy that few products fit in
MEASURE_AT_MOST, PRODUCTS = 1.5, 50
LEVELS = 20  # noise levels at which the calls of guidance are counted


def memory_bytes(candidate: Candidate, setting: InputSpec, device: str = "auto") -> int | None:
    """Return the memory of training, bytes, as `ablate.training.memory_estimate` counts it; None where it cannot.

    Weights, gradients, the optimizer's state, averages, and what autograd saves in the candidate's own
    precision and parts: with Adam 4W + A in fp32, and 4W + A/2 in 16 bits.
    """
    from ablate.training.memory_estimate import estimated

    return estimated(candidate, setting, "cpu" if device == "auto" else device)


def seconds(
    candidate: Candidate, setting: InputSpec, cost: Cost, images: int, samples: int, device: str = "auto"
) -> float:
    """Return the time of one trial: its `flops`, divided by 0.4 of the rate of a matrix product in this precision.

    Reading the data and looking at the samples come on top.
    """
    return flops(candidate, setting, cost, images, samples) / (EFFICIENCY * matmul_rate(candidate.precision, device))


def flops(candidate: Candidate, setting: InputSpec, cost: Cost, images: int, samples: int) -> float:
    """Return a trial's floating-point operations: of training on `images`, and of sampling `samples` images.

    A training image takes three forward passes of 2·macs flops, or what routing leaves of them, or what an objective
    of several passes really computes; a sample takes one for each call of the network.
    """
    asked = _calls(candidate.guidance, candidate.schedule.for_setting(setting), setting)
    sibling = candidate.sibling(setting)
    smaller = 1.0 if sibling is None else cost_of(sibling.backbone, setting).macs / cost.macs
    calls = candidate.solver.nfe() * (asked.network + asked.weaker * smaller)
    other = 1.0 if cost.train_pass_gflops is None else cost.train_pass_gflops / cost.gflops
    return 2 * cost.macs * (TRAIN_PASSES * other * images + samples * calls)


def training_pass(candidate: Candidate, setting: InputSpec) -> float | None:
    """Return the Gflops of a pass in training, a third of a step, where that is not one of the network alone.

    Where the objective takes several passes or adds terms, and where guidance trains a sibling, which counts by the
    share of the training in which it learns. None otherwise, and where it cannot be counted, of which
    `ablate.study.counted` warns.
    """
    try:
        return counted_pass(candidate, setting)
    except Exception:  # noqa: BLE001 - a plugin's own code: its trials report what is wrong with it
        return None


def counted_pass(candidate: Candidate, setting: InputSpec) -> float | None:
    """Return the same. Raises what a plugin's code raises on the meta device."""
    sibling = candidate.sibling(setting)
    if sibling is None:
        return None if _is_plain(candidate) else _pass(candidate, setting)
    return _pass(candidate, setting) + sibling.until * _pass(candidate.of_sibling(sibling), setting)


def _is_plain(candidate: Candidate) -> bool:
    """Return whether a step is a pass of the network alone, forwards and backwards through all of its weights."""
    return candidate.one_pass and not candidate.adapter.freezes


def _pass(candidate: Candidate, setting: InputSpec) -> float:
    from ablate.training.training_cost import pass_gflops

    if _is_plain(candidate):
        return cost_of(candidate.backbone, setting).trained_gflops
    return pass_gflops(candidate, setting)


def flops_of(settings: TrialSettings, candidate: Candidate) -> float:
    """Return the same for a trial of a study; of its sampling alone where time decides how long it trains."""
    cost = settings.cost(candidate)
    images = settings.budget.images_for(candidate.batch, cost.trained_gflops)
    samples = settings.evaluation.drawn_in_all(candidate.batch, images)
    return flops(candidate, settings.setting, cost, images or 0, samples)


@lru_cache(maxsize=64)
def matmul_rate(precision: Precision, device: str = "auto") -> float:
    """Measure the flops a second of a linear layer, a square matrix product, in this precision on this machine."""
    return _rate(precision.forward, device)


@lru_cache(maxsize=4)
def plain_rate(device: str = "auto") -> float:
    """Measure the same in fp32."""
    return _rate(lambda device: nullcontext(), device)


def _rate(scope: Callable[[torch.device], AbstractContextManager[Any]], device: str) -> float:
    import torch

    on = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    size = 4096 if on.type == "cuda" else 256  # small: some CPUs are slow in bf16
    a = torch.randn(size, size, device=on)

    def product() -> None:
        torch.nn.functional.linear(a, a)  # as layers do it: for mm itself some CPUs have no fast 16-bit kernel
        if on.type == "cuda":
            torch.cuda.synchronize(on)

    with torch.inference_mode(), scope(on):
        product()  # the first one starts threads and picks kernels
        shortest, is_busy = _shortest(product)
        if is_busy and on.type == "cpu" and (threads := torch.get_num_threads()) > 1:
            # Threads that share their cores with others wait for one another, twenty times as long as a product takes.
            torch.set_num_threads(1)
            try:
                shortest = min(shortest, _shortest(product)[0])
            finally:
                torch.set_num_threads(threads)
    return 2 * size**3 / shortest


def _shortest(product: Callable[[], None]) -> tuple[float, bool]:
    """Return the seconds of the fastest of many products, and whether they took longer than they should."""
    taken: list[float] = []
    first = begun = time.perf_counter()
    while begun - first < (MEASURE_SECONDS if len(taken) >= PRODUCTS else MEASURE_AT_MOST):
        product()
        begun, before = time.perf_counter(), begun
        taken.append(begun - before)
    return min(taken), len(taken) <= PRODUCTS


@lru_cache(maxsize=256)
def _calls(guidance: Guidance, schedule: Schedule, setting: InputSpec) -> Calls:
    """Return how many images networks take for one call of the denoiser, on average over time."""
    import torch

    from ablate.kinds.solver import levels

    times = torch.linspace(1, 0, LEVELS, dtype=torch.float64).tolist()
    return calls_of(guidance, tuple(levels(schedule, times)), setting)
