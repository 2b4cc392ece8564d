"""Number formats: what runs in which, what a skipped step leaves, and what is said of a device beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segments_for_tests import CACHE, DATA, KNOWN, PLUGIN, candidate, job, run
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ablate.candidates.trial import Budget
from ablate.errors import InputError
from ablate.evaluation.sampling import Sampler
from ablate.kinds.data import Dataset
from ablate.study.device import check_device
from ablate.study.load import load_study
from ablate.testing.small import settle, shrink
from ablate.training.health import MOST_SKIPS, TrainingHealth
from ablate.training.learner import Images, Learner
from ablate.training.loop import Training
from ablate_zoo.precision._mixed import emulated

CPU = torch.device("cpu")
LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}
# By the beginning of an operation's name, as it is dispatched below autocast.
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "_scaled_dot_product")
EXACT = (
    *("native_layer_norm", "native_group_norm", "native_batch_norm", "_softmax", "_log_softmax", "linalg_vector_norm"),
    *("exp", "log", "pow", "rsqrt", "reciprocal", "sum", "mean", "var", "std", "cumsum", "prod", "softplus"),
)


class Formats(TorchDispatchMode):
    """Notes in which format every operation really ran, and whether that was inside of a network."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.depth = 0
        self.ran: list[tuple[bool, str, frozenset[torch.dtype]]] = []
        for network in networks:
            network.register_forward_pre_hook(lambda module, inputs: self._move(1))
            network.register_forward_hook(lambda module, inputs, output: self._move(-1))

    def _move(self, by: int) -> None:
        self.depth += by

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        arguments = tree_leaves((args, kwargs))
        formats = frozenset(leaf.dtype for leaf in arguments if isinstance(leaf, Tensor) and leaf.is_floating_point())
        self.ran.append((self.depth > 0, func.__name__.partition(".")[0], formats))
        return func(*args, **(kwargs or {}))


def learner_of(backbone: str, precision: str) -> Learner:
    """A learner of the smallest such network, on random images."""
    network = KNOWN.create("backbone", backbone)
    setting = settle(network)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (32, *setting.shape), dtype=np.uint8)
    labels = None if setting.classes is None else generator.integers(0, setting.classes, 32)
    data = Dataset(pixels, labels, pixels, labels, setting.classes, "0" * 64)
    more = {
        "backbone": shrink(network, setting),
        "precision": precision,
        "guidance": {"type": "cfg"},
        "clip": "global_norm",
    }
    return Learner(candidate(batch=4, more=more), setting, Images(data, CPU), 0, CPU, None)


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("backbone", [name for name in KNOWN.names("backbone") if name != "probe"])
def test_the_formats_that_really_ran(backbone: str, precision: str) -> None:
    """In every backbone, products run in 16 bits, norms and reductions in fp32; around it all is fp32."""
    learner, low = learner_of(backbone, precision), LOW[precision]
    formats = Formats([learner.network])
    noised, labels = learner.batch()
    with formats:
        loss = learner.loss(noised, labels).mean()
    learner.scaler.scale(loss).backward()
    with formats:
        learner.scaler.unscale_(learner.optimizer)
        norms = learner.candidate.clip.apply(learner.trainable)
        learner.scaler.step(learner.optimizer)
        learner.scaler.update()
        sampler = Sampler(learner.candidate, learner.process, learner.setting, 0, CPU)
        list(sampler.batches(learner.network, learner.average.weights().popitem()[1], 2, 2))
    assert loss.dtype == norms.before.dtype == norms.after.dtype == torch.float32
    tensors = [*learner.network.parameters(), *learner.average.state().values()]
    tensors += [leaf for leaf in tree_leaves(dict(learner.optimizer.state)) if isinstance(leaf, Tensor)]
    assert all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in learner.network.parameters())

    inside = [(name, formats_given) for within, name, formats_given in formats.ran if within]
    products = [formats_given for name, formats_given in inside if name.startswith(PRODUCTS)]
    assert products and all(formats_given == {low} for formats_given in products)
    exact = [(name, formats_given) for name, formats_given in inside if name.startswith(EXACT) and name != "expand"]
    assert exact and not [(name, formats_given) for name, formats_given in exact if low in formats_given]
    around = {name for within, name, formats_given in formats.ran if not within and low in formats_given}
    assert around <= {"_to_copy", "to", "detach", "alias"}  # the network's output becomes fp32, and nothing before it


def curve(precision: Any, steps: int = 1000) -> Iterator[float]:
    """Losses of a tiny network."""
    more = {
        "precision": precision,
        "precondition": "edm",
        "optimizer": {"type": "adamw", "lr": 3e-3},
        "sigma_data": 0.5,
    }
    trained = Learner(
        candidate(batch=8, width=4, more=more), DATA.setting(), Images(DATA.load(CACHE), CPU), 0, CPU, None
    )
    for _ in range(steps):
        yield float(trained.step(8.0 * steps).loss)


@pytest.mark.thorough
def test_fp16_follows_the_loss_of_fp32() -> None:
    """Over 1,000 steps every mean of 50 losses is within 2 %, while the scale rises until steps are skipped."""
    exact, rough = (
        torch.tensor(list(curve(precision))).view(-1, 50).mean(1)
        for precision in ("fp32", {"type": "fp16", "growth": 50})
    )
    assert float(exact[-4:].mean()) < 0.8 * float(exact[0])  # there is something to follow
    assert float(((rough - exact) / exact).abs().max()) <= 0.02


def test_skipped_steps_are_counted_and_change_nothing_else(tmp_path: Path) -> None:
    """A scale of 2^32 overflows half precision: it has to fall before the first step is taken."""
    config = candidate(batch=8, more={"precision": {"type": "fp16", "scale": 2.0**32}, "precondition": "edm"})
    record = run(job(tmp_path, config, {"steps": 40}))["record"]
    assert record["state"] == "complete" and 0 < record["skipped_steps"] < 30
    plain = run(job(tmp_path, candidate(batch=8), {"steps": 2}))["record"]
    assert "skipped_steps" not in plain  # nothing is scaled


def test_a_scale_that_never_helps_is_a_divergence(tmp_path: Path) -> None:
    config = candidate(batch=8, more={"precision": "fp16"})

    def learner() -> Learner:
        learner = Learner(config, DATA.setting(), Images(DATA.load(CACHE), CPU), 0, CPU, None)
        learner.network.inward.weight.register_hook(lambda gradient: gradient * torch.inf)
        return learner

    fault = Training(learner, Budget(steps=200), 1e-6, tmp_path, lambda: False).run()
    assert fault is not None and (fault["step"], fault["module"]) == (MOST_SKIPS, "inward")
    assert fault["message"].startswith("the gradient of inward.weight is not finite; the loss scale has fallen for")
    assert fault["last"] == [] and math.isfinite(fault["weight_norm"])


def test_a_finite_step_ends_a_row_of_skipped_ones() -> None:
    vitals = TrainingHealth()
    for step in range(3 * MOST_SKIPS):
        skips = step % MOST_SKIPS != 0
        assert vitals.take(step, 1.0, math.nan if skips else 2.0, scaled=True)
        vitals = TrainingHealth(vitals.state())
    assert vitals.skipped == 3 * (MOST_SKIPS - 1) and not vitals.stuck
    assert not vitals.take(0, 1.0, math.inf, scaled=True) and vitals.stuck
    assert not TrainingHealth().take(0, math.nan, 1.0, scaled=True)
    assert not TrainingHealth().take(0, 1.0, math.nan, scaled=False)


def test_what_a_processor_says_of_itself(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t\t: fpu avx2 avx512f\n")
    assert "amx_bf16" in (emulated(CPU, torch.bfloat16, cpuinfo) or "")
    cpuinfo.write_text("flags\t\t: fpu avx512_bf16\n")
    assert emulated(CPU, torch.bfloat16, cpuinfo) is None and emulated(CPU, torch.float16, cpuinfo) is not None
    assert emulated(CPU, torch.bfloat16, tmp_path / "nowhere") is None  # nobody can say


STUDY: dict[str, Any] = {
    "study": "formats",
    "data": "digits",
    "base": {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2}},
    "vary": {"precision": ["fp32", "bf16", "fp16"]},
    "design": {"type": "one_factor", "seeds": 1},
    "budget": {"steps": 1},
    "evaluate": {"samples": 4},
    "objectives": ["gflops"],
}

NOWHERE = """
from contextlib import nullcontext
from ablate.api import Precision
class Nowhere(Precision):
    "Runs on no device."
    name = "nowhere"
    def forward(self, device):
        return nullcontext()
    def scaler(self, device):
        import torch
        return torch.amp.GradScaler(device.type, enabled=False)
    def refuse_on(self, device):
        return f"{device.type} has no such numbers; say precision: fp32"
"""


NO_BLOCKS = "no module of it in an nn.ModuleList has a forward pass of its own"


def test_what_is_emulated_is_told_with_its_cost() -> None:
    loaded = load_study(STUDY)
    slow = [name for name in LOW if KNOWN.create("precision", name).warn_on(CPU) is not None]
    warnings = check_device(loaded, "cpu")
    assert [warning.split()[0] for warning in warnings] == slow
    assert all("times as long" in warning for warning in warnings)


def test_what_a_device_has_not_is_refused_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "nowhere.py").write_text(NOWHERE)
    study = tmp_path / "study.yaml"
    lines = [f"{key}: {value}" for key, value in STUDY.items() if key not in ("vary", "objectives")]
    study.write_text(
        "\n".join([*lines, "objectives: [gflops]", "plugins: [nowhere.py]", "vary:", "  precision: [nowhere]"])
    )
    with pytest.raises(InputError, match="cpu has no such numbers; say precision: fp32") as raised:
        check_device(load_study(study), "cpu")
    assert str(raised.value).startswith(f"{study}:{len(lines) + 4}: ")
    assert "unsupported" in (KNOWN.create("precision", "fp16").refuse_on(torch.device("meta")) or "")


@pytest.mark.parametrize(("backbone", "lines"), [("probe", 1), ({"type": "dit", "patch": 4, "depth": 1}, 0)])
def test_recomputing_nothing_is_told(backbone: Any, lines: int) -> None:
    study = {"study": "recompute", "plugins": [PLUGIN], "data": "digits", "budget": {"steps": 1}, "vary": {}}
    base = {"backbone": backbone, "recompute": True}
    warnings = check_device(load_study({**study, "objectives": ["gflops"], "base": base}), "cpu")
    assert warnings == ["recompute: true saves nothing with backbone 'probe': " + NO_BLOCKS][:lines]


def test_more_processes_than_cores_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    study = {"study": "many", "plugins": [PLUGIN], "data": "digits", "budget": {"steps": 1}, "vary": {}}
    loaded = load_study({**study, "objectives": ["gflops"], "base": {"backbone": "probe", "devices": 3}})
    monkeypatch.setattr("ablate.study.device.cores", lambda: 3)
    assert check_device(loaded, "cpu") == []
    monkeypatch.setattr("ablate.study.device.cores", lambda: 2)
    assert check_device(loaded, "cpu") == ["devices: 3 are as many processes on the CPU, and there are 2 cores here"]


def test_the_profiles_for_a_gpu_say_a_format_of_16_bits() -> None:
    """The default is fp32 everywhere, so that a study means the same on every device (docs/decisions/0012)."""
    assert candidate().precision.name == "fp32"
    studies = [
        file for file in Path(__file__).parents[2].joinpath("studies").glob("*.yaml") if file.stem != "precision"
    ]
    on_gpu = [load_study(file, profile="gpu").study.base for file in studies if "\n  gpu:" in file.read_text()]
    assert len(on_gpu) > 3 and all(base.precision.name != "fp32" for base in on_gpu)
