"""Guidance of denoised images: by an earlier snapshot, by skipped layers, and projected; by closed forms and counts."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learners import CPU, SETTING, candidate, learner, train
from pydantic import ValidationError
from segments_for_tests import CACHE
from studies_for_tests import study

import ablate
from ablate.api import Denoised, Denoisers, InputSpec, Level, Process, network_blocks
from ablate.candidates.candidate import misfits
from ablate.candidates.sample_cost import sample_gflops
from ablate.errors import InputError
from ablate.evaluation.sampling import Sampler
from ablate.execute.local import Local
from ablate.study import evaluate
from ablate.study.evaluate import remeasure
from ablate.study.load import load_study
from ablate.study.request import Request
from ablate.training.snapshots import Snapshots
from ablate_zoo.guidance.apg import Apg
from ablate_zoo.guidance.autoguidance import Autoguidance
from ablate_zoo.guidance.cfg import Cfg
from ablate_zoo.guidance.skip_layer import SkipLayer
from ablate_zoo.precondition.none import NoPrecondition
from ablate_zoo.schedule.cosine import Cosine
from ablate_zoo.target.epsilon import Epsilon
from ablate_zoo.target.v import Velocity
from ablate_zoo.target.x0 import Image
from ablate_zoo.weighting.uniform import UniformWeighting

NULL = 10


def network(x: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Some function of all that it is told."""
    return torch.sin(x * (1 + labels.to(x.dtype).reshape(-1, 1, 1, 1) / 7)) + 0.1 * labels.reshape(-1, 1, 1, 1)


def level(t: float = 0.4) -> Level:
    return Process(Cosine(), Epsilon(), NoPrecondition(), UniformWeighting(), 0.6).level(torch.tensor(t).double())


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("target", [Epsilon(), Velocity(), Image()], ids=lambda target: target.name)
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_apg_that_keeps_the_parallel_part_is_cfg(target: Any, scale: float) -> None:
    """Sadat et al. 2025: eta 1, no momentum and no radius leave classifier-free guidance, whatever the target is."""
    process = Process(Cosine(), target, NoPrecondition(), UniformWeighting(), 0.6)
    x, labels = numbers(3, 2, 4, 4), torch.tensor([1, 2, 3])
    plain = process.denoiser(network, Cfg(scale=scale), labels, NULL)
    projected = process.denoiser(network, Apg(scale=scale, eta=1, momentum=0), labels, NULL)
    for t in (0.9, 0.4, 0.1):  # it remembers nothing of the steps before
        one, other = plain(x, t), projected(x, t)
        assert torch.allclose(one.x0, other.x0, atol=1e-4) and torch.allclose(one.noise, other.noise, atol=1e-4)


def asked(given: torch.Tensor, null: torch.Tensor) -> Denoisers:
    """A network that knows these images for the class and for none."""

    def denoise(x: torch.Tensor, labels: torch.Tensor | None) -> Denoised:
        x0 = torch.cat([given, null])
        return Denoised(x0, (x - level().alpha * x0) / level().sigma)

    return Denoisers(denoise)


def test_apg_moves_across_the_image_and_no_further_than_its_radius() -> None:
    given, null, x, labels = (
        numbers(3, 1, 4, 4),
        numbers(3, 1, 4, 4, seed=1),
        numbers(3, 1, 4, 4, seed=2),
        torch.arange(3),
    )
    found = Apg(scale=5, momentum=0).begin()(asked(given, null), x, labels, NULL, level())
    step = found.x0 - given
    assert torch.allclose((step * given).sum((1, 2, 3)), torch.zeros(3), atol=1e-4)
    away = given - null
    along = (away * given).sum((1, 2, 3), keepdim=True) / given.square().sum((1, 2, 3), keepdim=True) * given
    assert torch.allclose(step, 4 * (away - along), atol=1e-4)
    near = Apg(scale=5, momentum=0, eta=1, radius=0.5).begin()(asked(given, null), x, labels, NULL, level())
    assert torch.allclose((near.x0 - given).flatten(1).norm(dim=1), torch.full((3,), 4 * 0.5), atol=1e-4)


def test_apg_sums_up_what_is_new_and_each_batch_begins_anew() -> None:
    given, x, labels = numbers(2, 1, 2, 2), numbers(2, 1, 2, 2, seed=2), torch.arange(2)
    nulls = [numbers(2, 1, 2, 2, seed=seed) for seed in (3, 4, 5)]
    guidance = Apg(scale=2, momentum=-0.5, eta=1)
    for _ in range(2):
        guide, total = guidance.begin(), torch.zeros_like(given)
        for null in nulls:
            total = given - null - 0.5 * total
            found = guide(asked(given, null), x, labels, NULL, level())
            assert torch.allclose(found.x0, given + total, atol=1e-5)


def test_skipping_blocks_is_the_network_without_them() -> None:
    who = learner(backbone={"type": "dit", "patch": 4, "depth": 4, "width": 16, "heads": 2})
    with torch.no_grad():
        for p in who.network.parameters():
            p.add_(0.05 * torch.randn_like(p))
    x, noise, labels = numbers(2, 1, 8, 8), torch.zeros(2), torch.tensor([0, 1])
    weaker = SkipLayer(depth=(0.25, 0.75)).weaken(copy.deepcopy(who.network))
    without = copy.deepcopy(who.network)
    without.blocks = torch.nn.ModuleList([without.blocks[0], without.blocks[2]])
    with torch.no_grad():
        assert torch.equal(weaker(x, noise, labels), without(x, noise, labels))
        assert not torch.equal(weaker(x, noise, labels), who.network(x, noise, labels))
    assert len(network_blocks(who.network)) == 4, "the network itself is as it was"


@pytest.mark.parametrize("depth", [(), (1.0,), (-0.1,), (0.5, 0.5), (0.7, 0.2)])
def test_places_that_are_none_are_refused(depth: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="depth"):
        SkipLayer(depth=depth)


def test_what_sampling_costs_under_guidance() -> None:
    def cost(guidance: Any, **parts: Any) -> float:
        spec = {"backbone": {"type": "dit", "patch": 4, "depth": 4, "width": 32, "heads": 2}, "guidance": guidance}
        made = candidate(**spec, solver={"type": "ddim", "steps": 10}, **parts)
        gflops = ablate.cost({"backbone": made.backbone.spec()}, (1, 16, 16), 10).gflops
        found = sample_gflops(made, InputSpec((1, 16, 16), 10), gflops)
        assert found is not None
        return found / gflops

    assert cost("none") == pytest.approx(10)
    assert cost("apg") == pytest.approx(20)
    assert cost("autoguidance", ema="checkpoints") == pytest.approx(20)
    assert cost({"type": "autoguidance", "scale": 1}, ema="checkpoints") == pytest.approx(10)
    assert 10 < cost({"type": "autoguidance", "sigma_high": 2.0}, ema="checkpoints") < 20
    skipped = {n: cost({"type": "skip_layer", "depth": [k / 4 for k in range(n)]}) for n in (1, 2, 3)}
    assert 10 < skipped[3] < skipped[2] < skipped[1] < 20, "a skipped block is not computed"
    assert skipped[1] - skipped[2] == pytest.approx(skipped[2] - skipped[3]), "each block costs the same"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"guidance": "autoguidance"}, "needs 'snapshots'.*take ema 'post_hoc' or 'checkpoints'"),
        ({"guidance": "skip_layer", "backbone": {"type": "unet", "width": 16}}, "needs 'tokens'.*take a transformer"),
        ({"guidance": "apg"}, "needs 'conditions'"),
    ],
)
def test_what_cannot_be_guided_is_refused_when_the_study_is_read(parts: dict[str, Any], words: str) -> None:
    problems = misfits(candidate(**parts), None, InputSpec((1, 16, 16), None))
    assert any(re.search(words, problem.message) for problem in problems), problems


def test_a_training_of_minutes_keeps_no_snapshot_to_be_guided_by() -> None:
    base = {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 1}, "ema": "post_hoc"}
    timed = {"study": "timed", "data": "digits", "base": {**base, "guidance": "autoguidance"}, "budget": {"minutes": 1}}
    with pytest.raises(InputError, match=r"autoguidance' needs 'snapshots': a training of so many minutes.*images: …"):
        load_study(timed)
    load_study({**timed, "base": base})


def trained_with_snapshots(folder: Path, **parts: Any) -> tuple[Any, Snapshots]:
    who, snapshots = (
        learner(ema={"type": "checkpoints", "snapshots": 8, "store": "fp32", "length": 0.2}, **parts),
        Snapshots(folder),
    )
    who.network.train()
    for step in range(1, 17):
        who.step(128)
        if step % 4 == 0:
            snapshots.keep(who.images_seen, who.average.snapshot())
    return who, snapshots


def test_autoguidance_goes_away_from_the_nearest_snapshot(tmp_path: Path) -> None:
    who, snapshots = trained_with_snapshots(tmp_path)
    assert snapshots.images == [32, 64, 96, 128]
    guidance = Autoguidance(at=0.3)
    weights = guidance.weights(who.candidate.ema, snapshots, who.images_seen)
    then = train(learner(), 4).network.state_dict()
    assert all(torch.equal(weights[name], then[name]) for name, _ in who.network.named_parameters()), "of 32 images"
    assert guidance.describe() == "autoguidance(2, at=0.3)"
    with pytest.raises(InputError, match="no snapshot of the weights was kept before this point"):
        guidance.weights(who.candidate.ema, snapshots, 32)

    def samples(guidance: Any) -> torch.Tensor:
        made = candidate(ema="checkpoints", guidance=guidance)
        sampler = Sampler(made, who.process, SETTING, 0, CPU, weaker_weights=weights)
        return next(sampler.batches(who.network, dict(who.network.named_parameters()), 8, 8))[0].float()

    plain, guided = samples("none"), samples({"type": "autoguidance", "scale": 3})
    assert torch.equal(samples({"type": "autoguidance", "scale": 1}), plain)
    assert not torch.equal(guided, plain)


def test_a_study_is_guided_by_the_snapshots_of_its_own_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And measured again: with the trial's own solver and guidance the samples are those of then."""
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    monkeypatch.setattr(evaluate, "choose_executor", lambda *given: Local(in_process=True))  # starts at once
    guided = study(
        base={**study()["base"], "guidance": "autoguidance", "ema": {"type": "post_hoc", "snapshots": 8}},
        vary={"guidance.at": [0.25, 0.5]},
        design={"type": "grid", "seeds": 1},
        budget={"steps": 16},
        executor={"type": "local", "in_process": True},
        **{"evaluate.previews": 4},
    )
    results = ablate.run(guided, out=tmp_path / "run", device="cpu", figures=False)
    assert set(results.metrics["guidance"]) == {"autoguidance(2, at=0.25)", "autoguidance(2, at=0.5)"}
    assert (results.metrics["sample_gflops"] == 2 * results.trials["gflops"].iloc[0]).all()
    trial = results.trials["trial"].iloc[0]
    kept = np.load(tmp_path / "run" / "trials" / trial / "samples.npy")
    assert (results.sample(trial, 4, device="cpu").numpy() == kept).all()
    outcome = remeasure(tmp_path / "run", Request(settings=["guidance.scale=[2, 3]"]), executor="local", device="cpu")
    assert sorted({row["guidance"] for row in outcome.rows}) == [
        *("autoguidance(2, at=0.25)", "autoguidance(2, at=0.5)", "autoguidance(3, at=0.25)", "autoguidance(3, at=0.5)")
    ]
