"""Captured evaluations: samples are those of plain ones, and what cannot be captured is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from learners import CPU, SETTING, candidate, images
from torch import Tensor, nn

from ablate.api import InputSpec
from ablate.candidates.candidate import Candidate, compose
from ablate.discovery.catalog import catalog
from ablate.evaluation.captured import CapturedSampling
from ablate.evaluation.sampling import Sampler
from ablate.runtime.graph import NO_CUDA, Capture, Recorder, Tape
from ablate.training.learner import Learner

DIT = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2}
CASES: dict[str, tuple[dict[str, Any], int]] = {  # candidates, with the shapes of evaluations in batches of 4 and 2
    "alone": ({"solver": {"type": "dpmpp_2m", "steps": 8}, "ema": "power"}, 2),
    "both orders": ({"solver": {"type": "heun", "steps": 8}, "precision": "bf16"}, 2),
    "noise": ({"solver": {"type": "ddpm", "steps": 8}, "guidance": {"type": "cfg", "scale": 2.0}}, 2),
    "within": ({"solver": {"type": "ddim", "steps": 20}, "guidance": {"type": "cfg", "sigma_high": 2.0}}, 3),  # 8, 4, 2
    "weaker": ({"backbone": {**DIT, "depth": 3}, "guidance": {"type": "skip_layer"}}, 4),
    "remembering": ({"solver": {"type": "ddim", "steps": 8}, "guidance": "apg"}, 2),
}


def opened(made: Candidate, setting: InputSpec = SETTING) -> Learner:
    """A learner whose gates are open, so that everything reaches the output."""
    learner = Learner(made, setting, images(), 0, CPU, None)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in learner.network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    return learner


def samples(learner: Learner, captured: CapturedSampling | None = None) -> Tensor:
    """Six samples in batches of 4 and 2, then again with other weights."""
    sampler = Sampler(learner.candidate, learner.process, learner.setting, 0, CPU, captured=captured)
    network = learner.network
    weights = [dict(network.named_parameters()), {name: p * 1.1 for name, p in network.named_parameters()}]
    return torch.cat([pixels for one in weights for pixels, _ in sampler.batches(network, one, 6, 4)])


THOROUGH = ("both orders", "within")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.thorough] * (n in THOROUGH)) for n in CASES])
def test_samples_are_those_of_plain_evaluations(name: str) -> None:
    """Bit for bit; of each shape of a batch three evaluations are plain, and all further ones replays."""
    parts, shapes = CASES[name]
    learner = opened(candidate(**parts))
    evaluations = 0

    def count(*_: Any) -> None:
        nonlocal evaluations
        evaluations += 1

    with torch.random.fork_rng():
        plain = samples(learner)
        handle = nn.modules.module.register_module_forward_hook(
            lambda module, given, output: count() if type(module) is type(learner.network) else None
        )
        samples(learner)
        handle.remove()
        captured = CapturedSampling(learner.candidate, CPU, Tape)
        replayed = samples(learner, captured)
    assert torch.equal(plain, replayed) and len(plain) == 12 and plain.unique().numel() > 9
    assert captured.result == Capture(None, evaluations - 2 * 3 * shapes)


NETWORK = """
import random
import torch
from torch import nn
from ablate.api import Backbone, InputSpec

class Net(nn.Module):
    steps = 0

    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, noise, labels):
        y = self.layer(x)
        {line}
        return y

class Backbone1(Backbone):
    name = "reading"

    def build(self, setting: InputSpec):
        return Net(setting.shape[0])
"""
LINES = {
    "y = y * 2 if noise.mean() > 0 else y": "backbone 'reading' reads a number on the host",
    "self.steps += 1; y = y * self.steps": "backbone 'reading' computes with another number of the host's in each step",
    "y = y * random.random()": "backbone 'reading' draws on the host",
    "y = y + torch.rand_like(y)": "the network draws random numbers in each evaluation",
}


@pytest.mark.parametrize("line", list(LINES))
def test_who_cannot_be_captured_is_named(line: str, tmp_path: Path) -> None:
    """Samples are drawn plainly then, and the look leaves nothing behind."""
    plugin = tmp_path / f"reading_{list(LINES).index(line)}_sampled.py"
    plugin.write_text(NETWORK.format(line=line))
    spec = candidate(solver={"type": "ddim", "steps": 6}).spec()
    learner = Learner(
        compose({**spec, "backbone": "reading"}, catalog((str(plugin),))), SETTING, images(), 0, CPU, None
    )
    captured = CapturedSampling(learner.candidate, CPU, Tape)
    samples(learner, captured)
    assert (captured.result.plain or "").startswith(LINES[line]) and captured.result.replayed == 0


def test_what_is_told_without_a_look() -> None:
    assert CapturedSampling(candidate(), CPU).result.plain == NO_CUDA
    guided = CapturedSampling(candidate(guidance="classifier"), CPU, Tape).result.plain
    assert guided == "guidance 'classifier' takes the gradient of a network of its own"
    drawn = samples(opened(candidate(capture="auto")))  # there is no CUDA: plain ones
    assert torch.equal(drawn, samples(opened(candidate())))


class Wrong(Tape):
    """Replays give something else."""

    def replay(self) -> None:
        super().replay()
        self.results[0].add_(1.0)


class Impossible(Tape):
    """Nothing can be recorded."""

    def record(self, work: Callable[[], list[Tensor]]) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize(
    ("recorder", "why"),
    [
        (Wrong, "a replayed evaluation gave another output than the plain one"),
        (Impossible, "torch could not capture an evaluation: RuntimeError: operation not permitted when stream is"),
    ],
)
def test_a_replay_that_is_wrong_is_not_taken(recorder: type[Recorder], why: str) -> None:
    learner = opened(candidate(solver={"type": "ddim", "steps": 6}))
    captured = CapturedSampling(learner.candidate, CPU, recorder)
    assert torch.equal(samples(learner), samples(learner, captured))
    assert (captured.result.plain or "").startswith(why) and captured.result.replayed == 0
