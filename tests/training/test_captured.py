"""A captured step: replays give what the plain step gives, and what cannot be captured is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from learners import CPU, SETTING, candidate, images, learner
from torch import Tensor

from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.runtime.graph import NO_CUDA, Tape
from ablate.training.captured import CapturedStep, excluded
from ablate.training.learner import Learner

RATE = 2.0**-10  # a number of fp32: a captured step reads its rate in that format
ADAM = {"type": "adamw", "lr": RATE}
MANY = 10_000


def opened(made: Learner) -> Learner:
    """The same learner with its gates open, so that everything reaches the output."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in made.network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    made.network.train()
    return made


def on_tape(made: Learner) -> Learner:
    """A learner whose steps are recorded on a tape, where a GPU would have a graph."""
    made.captured = CapturedStep(made, Tape)
    opened(made).prepare(lambda: None)
    return made


def state(made: Learner) -> dict[str, Tensor]:
    return dict(made.state({}).tensors)


OPTIONS: dict[str, dict[str, Any]] = {
    "dropout": {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "dropout": 0.3}},
    "guided": {"guidance": {"type": "cfg", "drop": 0.3}, "clip": {"type": "global_norm", "max_norm": 0.1}},
    "cut": {"micro": 4, "batch": 8},
    "odd": {"batch": 12, "augmentation": "flip", "ema": {"type": "power"}},
    "warming": {"optimizer": {**ADAM, "lr": 2.0**-7, "warmup": 64, "decay": "constant"}, "clip": "agc"},
    "term": {"auxiliary": [{"type": "dispersive", "until": 0.004}]},
}


THOROUGH = ("guided", "cut", "warming")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.thorough] * (n in THOROUGH)) for n in OPTIONS])
def test_replays_give_what_the_plain_step_gives(name: str) -> None:
    """Bit for bit, over an epoch's end (64 images), with draws, dropout, clipping, moments and averages."""
    parts = {"optimizer": ADAM, **OPTIONS[name]}
    plain, captured = opened(learner(**parts)), on_tape(learner(**parts))
    assert captured.captured is not None and captured.captured.result.plain is None
    numbers = [[made.step(MANY) for _ in range(9)] for made in (plain, captured)]
    assert captured.captured.result.plain is None and captured.captured.result.replayed >= 3
    for one, two in zip(*numbers, strict=True):
        assert (one.number, one.images, one.rate, one.terms.keys()) == (
            two.number,
            two.images,
            two.rate,
            two.terms.keys(),
        )
        assert torch.equal(one.loss, two.loss) and torch.equal(one.gradient_norm, two.gradient_norm)
        assert torch.equal(one.clipped_norm, two.clipped_norm)
        assert all(torch.equal(value, two.terms[term]) for term, value in one.terms.items())
    ours, theirs = state(plain), state(captured)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


READING = """
import random
import torch
from torch import nn
from ablate.api import Auxiliary

class Reader(nn.Module):
    steps = 0

    def forward(self, noised, labels, model):
        error = model.prediction.float().square().flatten(1).mean(1)
        {line}
        return error

class Reading(Auxiliary):
    name = "reading"

    def build(self, host):
        return Reader()
"""
LINES = {
    "if error.mean() > 2: error = error * 2": "reads a number on the host",
    "error = error * error.detach().mean().item()": "reads a number on the host",
    "error = error * float(error.detach().cpu().numpy().mean())": "copies numbers to the host",
    "error = torch.cat([error[error > 0], error])[: len(error)]": "makes a tensor whose size the host must know",
    "error = error * random.random()": "draws on the host",
    "self.steps += 1; error = error * self.steps": "computes with another number of the host's in each step",
    "error = error * (1 + model.progress)": "computes with the share of the training that is done",
}


def test_who_cannot_be_captured_is_named(tmp_path: Path) -> None:
    """The plain step is taken, and nothing of the look is left."""
    for number, (line, why) in enumerate(LINES.items()):
        plugin = tmp_path / f"reading_{number}.py"
        plugin.write_text(READING.format(line=line))
        spec = candidate(optimizer=ADAM).spec()
        found = compose({**spec, "auxiliary": ["reading"]}, catalog((str(plugin),)))
        made, other = (Learner(found, SETTING, images(), 0, CPU, None) for _ in range(2))
        other.network.train()
        on_tape(made)
        opened(other)
        assert made.captured is not None
        told = made.captured.result.plain or ""
        assert told.startswith(f"auxiliary 'reading' {why}") and f"{plugin}:12, in Reader.forward" in told, told
        if "random.random" not in line and "self.steps" not in line:
            assert torch.equal(made.step(MANY).loss, other.step(MANY).loss)


def test_what_is_told_without_a_look() -> None:
    assert candidate(capture="auto").digest() == candidate().digest()
    assert excluded(candidate(recompute=True)) == "recompute: true keeps the states of generators on the host"
    assert excluded(candidate(coupling="immiscible")) is not None and excluded(candidate()) is None
    made = on_tape(learner(optimizer="sgd"))
    assert made.captured is not None and "optimizer 'sgd' computes with numbers" in (made.captured.result.plain or "")
    made = learner(capture="auto")
    made.network.train()
    made.prepare(lambda: None)
    assert made.captured is not None and made.captured.result.plain == NO_CUDA
    plain = learner()
    plain.network.train()
    assert torch.equal(made.step(MANY).loss, plain.step(MANY).loss)


def test_a_replay_that_gives_other_weights_is_not_taken() -> None:
    class Wrong(Tape):
        def replay(self) -> None:
            super().replay()
            with torch.no_grad():
                next(iter(made.network.parameters())).add_(1.0)

    plain, made = opened(learner(optimizer=ADAM)), opened(learner(optimizer=ADAM))
    made.captured = CapturedStep(made, Wrong)
    made.prepare(lambda: None)
    losses = [[float(one.step(MANY).loss) for _ in range(6)] for one in (plain, made)]
    assert losses[0] == losses[1]
    assert made.captured.result == ("a replayed step gave other weights than the plain one", 0)
