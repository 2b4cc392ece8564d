"""Compiled networks: the same training up to rounding, and the network as it is where the compiler fails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from learners import CPU, candidate, learner
from segments_for_tests import PLUGIN, job, run
from torch import nn

from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.results import frames
from ablate.training.compiled import CompiledNetwork, compiler_problem
from ablate.training.learner import Learner

TOLERANCE = 1e-3  # of how far three steps move all weights together, in fp32, and of the loss (docs/decisions/0048)
SMALL = """
import torch
from torch import nn
from ablate.api import Backbone

class Network(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(channels, 1, 1))
        self.level = nn.Parameter(torch.randn(1))

    def forward(self, x, noise, labels):
        return torch.tanh(x * self.scale + (self.level * noise)[:, None, None, None])

class Small(Backbone):
    name = "small"

    def build(self, setting):
        return Network(setting.shape[0])
"""
needs_compiler = pytest.mark.skipif(compiler_problem(CPU) is not None, reason="no C++ compiler here")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    return tmp_path


def started(cache: Path, **parts: Any) -> Learner:
    """A learner whose gates are open, so that everything reaches the output, and ready to take steps."""
    made = learner(**parts)
    made.data.cache = cache
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in made.network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    made.network.train()
    made.prepare(lambda: None)
    return made


@pytest.mark.thorough
@needs_compiler
def test_a_trial_with_a_compiled_network_is_the_same_trial(tmp_path: Path) -> None:
    """Its record says what was compiled and how long that took; nothing global is left changed."""
    plugins = (PLUGIN, str(tmp_path / "small.py"))
    (tmp_path / "small.py").write_text(SMALL)
    spec = {"backbone": "small", "solver": {"type": "ddim", "steps": 2}, "batch": 32}
    ways = [compose({**spec, "compile": mode}, catalog(plugins)) for mode in ("none", "default")]
    plain, compiled = (
        run(job(tmp_path / one.compile, one, {"steps": 3}, plugins=list(plugins), cache=str(tmp_path)))["record"]
        for one in ways
    )
    assert compiled["trial"] == plain["trial"] and compiled["state"] == plain["state"] == "complete"
    assert compiled["loss"] == pytest.approx(plain["loss"], rel=TOLERANCE)
    assert compiled["compile"] == {"mode": "default", "graphs": 1, "eager": None}
    assert 0 < compiled["compile_seconds"] < compiled["overhead_seconds"]
    assert not {"compile", "compile_seconds"} & plain.keys()
    assert "compile_seconds" in frames.trials([compiled], frames.metrics([])).columns


@needs_compiler
@pytest.mark.thorough
def test_a_compiled_network_trains_as_the_plain_one(cache: Path) -> None:
    """With dropout, whose masks are the same."""
    backbone = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "dropout": 0.3}
    plain, compiled = (started(cache, backbone=backbone, compile=mode) for mode in ("none", "default"))
    assert plain.compiled is None and compiled.compiled is not None
    facts = compiled.compiled.result
    assert (facts.mode, facts.eager) == ("default", None) and facts.graphs >= 1 and facts.seconds > 0
    assert list(cache.glob("compiled/*"))  # generated code is kept for the next trial
    assert compiled.steps_done == 0 and all(p.grad is None for p in compiled.parameters)
    before = {name: value.clone() for name, value in plain.network.state_dict().items()}
    assert all(torch.equal(value, before[name]) for name, value in compiled.network.state_dict().items())

    losses = [[float(made.step(1000).loss) for _ in range(3)] for made in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=TOLERANCE)
    moved, apart = (
        torch.cat([(value - to[name]).flatten() for name, value in plain.network.state_dict().items()]).norm()
        for to in (before, compiled.network.state_dict())
    )
    assert 0 < apart < TOLERANCE * moved


def test_what_is_traced_and_when(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One graph, with the rules of the number format in it; later nothing is traced, and hooks see every module.

    What is traced runs as it was traced, without a C++ compiler, so that numbers are equal.
    """

    def backend(self: CompiledNetwork) -> Any:
        def keep(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
            self._graphs += 1
            return graph.forward

        return keep

    monkeypatch.setattr(CompiledNetwork, "_backend", backend)
    plain, traced = (started(cache, precision="bf16", compile=mode) for mode in ("none", "default"))
    assert traced.compiled is not None
    assert (traced.compiled.result.graphs, traced.compiled.result.eager) == (1, None)
    assert traced.steps_done == 0 and all(p.grad is None for p in traced.parameters)
    assert torch.equal(plain.loss(*plain.batch()), traced.loss(*traced.batch()))

    seen: list[nn.Module] = []
    block = next(module for name, module in traced.network.named_modules() if name == "blocks.0")
    handle = block.register_forward_hook(lambda module, inputs, output: seen.append(module))
    traced.step(1000)
    handle.remove()
    assert seen == [block]
    traced.micro = 3  # a shape that the warm-up did not have: taken as it is, nothing is traced now
    traced.step(1000)
    assert traced.compiled._graphs == 1


def warmed(network: nn.Module, cache: Path) -> CompiledNetwork:
    made = CompiledNetwork(network, "default")
    made.warm_up(lambda: made(torch.ones(2, 3)).sum().backward(), CPU, cache)
    return made


def test_where_the_compiler_fails_the_network_runs_as_it_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config as inductor

    network = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        assert "no C++ compiler" in (compiler_problem(CPU) or "")
        made = warmed(network, cache)
    assert made.result.eager is not None and made.result.eager.startswith("torch could not compile it: ")
    x = torch.randn(2, 3)
    assert torch.equal(made(x), network(x))
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_a_lack_of_memory_is_no_failure_of_the_compiler(cache: Path) -> None:
    made = CompiledNetwork(nn.Linear(3, 3), "default")

    def passes() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        made.warm_up(passes, CPU, cache)


def test_half_a_file_in_the_cache_costs_a_second_attempt(cache: Path) -> None:
    """A process that was killed while it compiled leaves one."""
    made, folders = CompiledNetwork(nn.Linear(3, 3), "default"), []

    def passes() -> None:
        folders.append(Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]))
        if len(folders) == 1:
            raise ImportError("abc.main.so: file too short")

    made.warm_up(passes, CPU, cache)
    assert folders[0] == cache / "compiled" and folders[1].parent == folders[0] and len(folders) == 2
    assert made.result.eager == "torch found nothing in it that can be compiled"


def test_a_network_on_which_something_looks_in_every_pass_is_not_compiled(cache: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 3))
    network[0].register_forward_hook(lambda module, inputs, output: None)
    made = warmed(network, cache)
    assert made.result.eager is not None and "reads activations" in made.result.eager and made.result.graphs == 0


def test_compiling_is_no_part_of_the_identity() -> None:
    assert candidate(compile="max-autotune").digest() == candidate().digest()
    with pytest.raises(SpecError, match="compile: default does not go with recompute: true"):
        candidate(compile="default", recompute=True)
