"""How much memory and time a trial will take, from counts and one short measurement: estimates, not promises."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from ablate.candidate import Candidate
from ablate.component import Setting
from ablate.kinds.backbone import Backbone
from ablate.kinds.precision import Precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

EFFICIENCY = 0.4  # the share of a plain matrix product's rate that a whole training step reaches
MEASURE_SECONDS = 0.15
LEVELS = 20  # noise levels at which the calls of guidance are counted


def memory_bytes(candidate: Candidate, setting: Setting) -> int:
    """Memory of training at the full batch, bytes, all of it counted as fp32.

    Weights, gradients and two moments of Adam; what the average keeps; and every tensor that
    autograd saves in a forward pass, counted once a storage on the meta device. What the framework
    itself takes, workspace and fragmentation, comes on top.
    """
    parameters, activations = _sizes(candidate.backbone, setting, candidate.batch)
    return 4 * 4 * parameters + _average(candidate, setting) + activations


def seconds(
    candidate: Candidate, setting: Setting, macs: float, images: int, samples: int, device: str = "auto"
) -> float:
    """Time of one trial: training on `images`, and sampling `samples` images.

    A training image takes three forward passes of 2·macs flops, a sample takes one for each call of
    the network; divided by 0.4 of the rate that a matrix product reaches here in this precision.
    Reading the data and looking at the samples come on top.
    """
    calls = candidate.solver.nfe() * _calls(candidate, setting)
    return 2 * macs * (3 * images + samples * calls) / (EFFICIENCY * matmul_rate(candidate.precision, device))


@lru_cache(maxsize=64)
def matmul_rate(precision: Precision, device: str = "auto") -> float:
    """Flops a second of a square matrix product in this precision, on this machine, now."""
    import torch

    on = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    size = 4096 if on.type == "cuda" else 256  # small: some CPUs are slow in bf16
    a = torch.randn(size, size, device=on)

    def product() -> None:
        torch.mm(a, a)
        if on.type == "cuda":
            torch.cuda.synchronize(on)

    with torch.inference_mode(), precision.forward(on):
        product()  # the first one starts threads and picks kernels
        best, end = float("inf"), time.perf_counter() + MEASURE_SECONDS
        while time.perf_counter() < end:
            begun = time.perf_counter()
            product()
            best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best


def _calls(candidate: Candidate, setting: Setting) -> float:
    """How many images the network looks at for one call of the denoiser, on average over time."""
    import torch

    from ablate.kinds.process import Level

    looked = 0

    def predict(x: Tensor, labels: Tensor | None) -> Tensor:
        nonlocal looked
        looked += len(x)
        return torch.zeros_like(x)

    labels = None if setting.classes is None else torch.zeros(1, dtype=torch.int64)
    schedule = candidate.schedule
    for t in torch.linspace(1, 0, LEVELS, dtype=torch.float64):
        level = Level(t, schedule.alpha(t), schedule.sigma(t))
        candidate.guidance.predict(predict, torch.zeros(1, *setting.shape), labels, setting.classes or 0, level)
    return looked / LEVELS


def _average(candidate: Candidate, setting: Setting) -> int:
    import torch

    with torch.device("meta"):
        network = candidate.backbone.build(setting)
    average = candidate.ema.build({name: p.detach() for name, p in network.named_parameters()})
    return sum(4 * held.numel() for held in average.state().values())


@lru_cache(maxsize=1024)
def _sizes(backbone: Backbone, setting: Setting, batch: int) -> tuple[int, int]:
    """Trained parameters, and bytes that autograd saves in one forward pass."""
    import torch

    with torch.device("meta"):
        network = backbone.build(setting).train()
        x, noise = torch.empty(batch, *setting.shape), torch.empty(batch)
        labels = None if setting.classes is None else torch.empty(batch, dtype=torch.int64)
    own = {_storage(p) for p in network.parameters()}
    saved: dict[int, Tensor] = {}  # holding them keeps a storage's address its own

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            saved.setdefault(_storage(tensor), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(x, noise, labels)
    held = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    return sum(p.numel() for p in network.parameters() if p.requires_grad), held + output.numel() * 4


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
