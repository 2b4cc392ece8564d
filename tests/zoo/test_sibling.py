"""Autoguidance by a smaller sibling, trained beside the network: two trainings that do not feel each other."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learners import CPU, SETTING, candidate, learner, same, train
from segments_for_tests import CACHE
from studies_for_tests import study

import ablate
from ablate.api import InputSpec
from ablate.candidates.candidate import cost_of, misfits
from ablate.candidates.sample_cost import sample_gflops
from ablate.errors import InputError
from ablate.evaluation.sampling import Sampler
from ablate.execute.local import Local
from ablate.study import evaluate
from ablate.study.estimate import flops, training_pass
from ablate.study.evaluate import remeasure
from ablate.study.load import load_study
from ablate.study.request import Request
from ablate.training.divergence import examine
from ablate.training.learner import Learner
from ablate.training.memory_estimate import footprint
from ablate.training.training_cost import train_gflops

DIT = {"type": "dit", "patch": 4, "depth": 2, "width": 32, "heads": 2, "dropout": 0.2}
GUIDED = {"type": "autoguidance", "width": 0.5, "at": 1.0}
PARTS: list[dict[str, Any]] = [
    {},
    {"weighting": "edm2", "precision": "bf16", "ema": "post_hoc"},
    {"auxiliary": [{"type": "dispersive"}], "clip": "global_norm"},
    {"augmentation": "edm", "objective": "self_conditioning"},
]


@pytest.mark.parametrize("parts", PARTS, ids=["plain", "learned weighting", "auxiliary", "conditions"])
def test_the_network_does_not_feel_its_sibling(parts: dict[str, Any]) -> None:
    alone, guided = (train(learner(backbone=DIT, guidance=g, **parts), 4) for g in ("none", GUIDED))
    tensors = {name: one for name, one in guided.state({}).tensors.items() if not name.startswith("sibling.")}
    assert same(alone.state({}).tensors, tensors)
    assert len(tensors) < len(guided.state({}).tensors)


@pytest.mark.parametrize("parts", PARTS, ids=["plain", "learned weighting", "auxiliary", "conditions"])
def test_the_sibling_is_trained_as_if_it_were_alone(parts: dict[str, Any]) -> None:
    """To the bits of a training of the smaller network on the same batches, from the same initial weights."""
    guided = learner(backbone=DIT, guidance=GUIDED, **parts)
    smaller = learner(backbone={**DIT, "width": 16}, **parts)
    smaller.load(guided.sibling.learner.state({}))
    assert smaller.candidate.backbone == guided.sibling.learner.candidate.backbone
    assert not same(smaller.network.state_dict(), learner(backbone={**DIT, "width": 16}).network.state_dict())
    train(guided, 4), train(smaller, 4)
    assert same(smaller.state({}).tensors, guided.sibling.learner.state({}).tensors)


def test_it_learns_for_a_part_of_the_training_and_goes_on_exactly() -> None:
    def steps(who: Learner, count: int) -> Learner:
        who.network.train()
        for _ in range(count):
            who.step(64)  # of 8 steps
        return who

    spec = {"backbone": DIT, "guidance": {**GUIDED, "at": 0.5}}
    whole, first, second = (learner(**spec) for _ in range(3))
    steps(first, 3)
    second.load(first.state({}))
    steps(whole, 8), steps(second, 5)
    assert (whole.steps_done, whole.sibling.learner.steps_done) == (8, 4)
    assert same(whole.state({}).tensors, second.state({}).tensors)
    assert whole.state({}).facts == second.state({}).facts
    assert same(whole.sibling.network.state_dict(), steps(learner(**spec), 4).sibling.network.state_dict())
    assert math.isfinite(whole.companion_loss)
    until = [candidate(backbone=DIT, guidance=g).guidance.same_until(64) for g in (spec["guidance"], "autoguidance")]
    assert until == [32, math.inf]  # a longer training would train it further


def samples(sampler: Sampler, who: Learner) -> torch.Tensor:
    weights = next(iter(who.average.weights().values()))
    return next(sampler.batches(who.network, weights, 8, 8))[0].float()


def test_samples_go_away_from_the_averaged_sibling() -> None:
    """At scale 0 they are the sibling's own; at 1 the network's; at 2 neither."""
    made = train(learner(backbone=DIT, guidance={**GUIDED, "at": 1.0}), 6)
    network, weights = made.averaged_sibling

    def drawn(scale: float) -> torch.Tensor:
        spec = candidate(backbone=DIT, guidance={**GUIDED, "scale": scale})
        how = {"weaker_network": network, "weaker_weights": weights}
        return samples(Sampler(spec, made.process, SETTING, 0, CPU, **how), made)

    plain = Sampler(candidate(backbone=DIT), made.process, SETTING, 0, CPU)
    assert torch.equal(drawn(0), samples(plain, made.sibling.learner))
    assert torch.equal(drawn(1), samples(plain, made))
    assert not torch.equal(drawn(2), drawn(1))
    assert not same(dict(weights), dict(network.named_parameters()))


def test_what_it_costs_is_counted() -> None:
    setting = InputSpec((1, 16, 16), 10)
    parts = {"backbone": {**DIT, "width": 64}, "solver": {"type": "ddim", "steps": 10}}
    alone, small = candidate(**parts), candidate(**{**parts, "backbone": {**DIT, "width": 32}})
    guided = candidate(**parts, guidance={**GUIDED, "at": 0.25, "scale": 2})
    own, less = (cost_of(one.backbone, setting) for one in (alone, small))
    assert sample_gflops(guided, setting, own.gflops) == pytest.approx(10 * (own.gflops + less.gflops))
    expected = train_gflops(alone, setting) + 0.25 * train_gflops(small, setting)
    assert train_gflops(guided, setting) == pytest.approx(expected)
    assert training_pass(guided, setting) == pytest.approx(own.gflops + 0.25 * less.gflops)
    assert training_pass(alone, setting) is None
    two = candidate(**parts, guidance={**GUIDED, "at": 0.25}, auxiliary=["dispersive"])
    passes = [training_pass(one, setting) for one in (two, candidate(**parts, auxiliary=["dispersive"]))]
    assert passes[0] > passes[1] > own.gflops * 0.8
    work = flops(guided, setting, own, 0, 100) / flops(alone, setting, own, 0, 100)
    assert work == pytest.approx(1 + less.macs / own.macs)
    whole, one, other = (footprint(c, setting, "cpu") for c in (guided, alone, small))
    assert whole.companion == other.weights + other.optimizer + other.averages
    assert one.peak + whole.companion == whole.peak  # the network's own step takes the most
    assert (whole.weights, whole.activations) == (one.weights, one.activations)


def test_the_nearest_width_that_works_is_taken() -> None:
    def width(backbone: dict[str, Any], share: float, side: int = 16) -> int:
        made = candidate(backbone=backbone, guidance={**GUIDED, "width": share})
        return made.sibling(InputSpec((1, side, side), 10)).backbone.width

    assert width({**DIT, "width": 96, "heads": 6}, 0.5) == 48
    assert width({**DIT, "width": 96, "heads": 3, "positions": "rope"}, 0.4) == 36
    assert width({"type": "dit", "patch": 4, "width": 64, "head_width": 16}, 0.6) == 32
    assert width({"type": "unet", "width": 32, "multipliers": [1, 2], "groups": 8}, 0.4) == 16


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"backbone": {**DIT, "width": 4, "heads": 1}}, "autoguidance': backbone 'dit' works with no smaller width"),
        ({"guidance": {"type": "autoguidance", "width": 0.5}}, None),
        ({"guidance": "autoguidance"}, "needs 'snapshots'.* or give a 'width'"),
        (
            {"objective": {"type": "distill", "steps": 4}, "weighting": "max_snr", "target": "v"},
            "a smaller network.* learns from a teacher of the network's own",
        ),
    ],
)
def test_what_has_no_sibling_is_refused_when_the_study_is_read(parts: dict[str, Any], words: str | None) -> None:
    problems = misfits(candidate(**{"guidance": GUIDED, **parts}), None, SETTING)
    assert [bool(re.search(words or "", problem.message)) for problem in problems] == ([True] if words else [])


def test_an_end_that_is_the_network_itself_is_refused() -> None:
    with pytest.raises(InputError, match="at: 1 is the network itself"):
        candidate(guidance={"type": "autoguidance", "at": 1})


def test_a_sibling_that_diverges_is_told() -> None:
    broken = learner(backbone=DIT, guidance=GUIDED)
    with torch.no_grad():
        broken.sibling.network.blocks[1].mlp.branch.up.weight[0, 0] = torch.inf
    assert examine(broken)[:2] == (
        "sibling.blocks.1.mlp.branch.up",
        "the sibling of guidance 'autoguidance': the parameter blocks.1.mlp.branch.up.weight is not finite",
    )
    step = broken.step(64)
    assert not torch.isfinite(step.companion_loss) and torch.isfinite(step.loss)


def test_a_study_is_guided_by_siblings_and_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    monkeypatch.setattr(evaluate, "choose_executor", lambda *given: Local(in_process=True))  # starts at once
    base = {**study()["base"], "guidance": {"type": "autoguidance", "width": 0.5}}
    guided = study(
        base=base,
        vary={"guidance.at": [0.25, 1.0]},
        design={"type": "grid", "seeds": 1},
        budget={"steps": 16},
        executor={"type": "local", "in_process": True},
        **{"evaluate.previews": 4, "evaluate.at": [0.5, 1.0]},
    )
    results = ablate.run(guided, out=tmp_path / "run", device="cpu", figures=False)
    assert set(results.metrics["guidance"]) == {f"autoguidance(2, at={at}, width=0.5)" for at in ("0.25", "1")}
    trials = results.trials
    assert (trials["train_pass_gflops"] > trials["gflops"]).all() and trials["train_pass_gflops"].nunique() == 2
    assert (results.metrics["sample_gflops"] < 2 * trials["gflops"].iloc[0] * results.metrics["nfe"]).all()
    kept = np.load(tmp_path / "run" / "trials" / trials["trial"].iloc[0] / "samples.npy")
    assert (results.sample(trials["trial"].iloc[0], 4, device="cpu").numpy() == kept).all()

    def again(*settings: str) -> set[str]:
        asked = Request(settings=list(settings))
        return {row["guidance"] for row in remeasure(tmp_path / "run", asked, executor="local", device="cpu").rows}

    assert "autoguidance(3, at=0.25, width=0.5)" in again("guidance.scale=[2, 3]")
    for setting in ("guidance.at=0.5", "guidance.width=0.25"):
        with pytest.raises(InputError, match="trains beside belongs to training"):
            again(setting)


def test_images_of_a_budget_in_gflops_count_the_sibling() -> None:
    """A training of as many Gflops sees fewer images, by what the sibling takes."""
    loaded = load_study(
        {
            "study": "gflops",
            "data": "digits",
            "base": {"backbone": {**DIT, "dropout": 0.0}, "batch": 16},
            "vary": {"guidance": ["none", GUIDED]},
            "budget": {"train_gflops": 10},
            "evaluate": {"samples": 20},
            "objectives": ["loss"],
        }
    )
    settings = loaded.trial_settings
    costs = [settings.cost(loaded.candidate(one)) for one in loaded.proposals() or ()]
    images = [settings.budget.images_for(16, cost.trained_gflops) for cost in costs]
    assert images[0] / images[1] == pytest.approx(costs[1].trained_gflops / costs[0].gflops, rel=0.02)
    assert 1.2 < images[0] / images[1] < 1.5
