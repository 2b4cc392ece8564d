"""What a trial has trained is had from its results: its network, and the images that were measured."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from segments_for_tests import CACHE

import ablate
from ablate.errors import InputError, SpecError

MINE = Path(__file__).parents[1] / "helpers" / "plugins" / "tiny.py"


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    home = tmp_path_factory.mktemp("trained")
    plugin = shutil.copy(MINE, home / "tiny.py")
    study = {
        "study": "trained",
        "plugins": [str(plugin)],
        "executor": {"type": "local", "in_process": True},
        "data": "digits",
        "base": {
            "backbone": "tiny",
            "solver": {"type": "ddpm", "steps": 3},  # draws noise at each step
            "optimizer": {"type": "adamw", "lr": 1e-2},
            "batch": 16,
        },
        "budget": {"steps": 12},
        "evaluate": {"metrics": [{"type": "kid", "features": "pixels"}], "samples": 10, "batch": 4, "previews": 10},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        ablate.run(study, out=home / "study", executor="local", device="cpu", figures=False)
    return home


@pytest.fixture
def results(once, tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    return ablate.load(shutil.copytree(once / "study", tmp_path / "study"))


def test_samples_are_those_that_were_measured_bit_for_bit(results):
    (trial,) = results.trials["trial"]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    measured = torch.from_numpy(np.load(results.path / "trials" / trial / "samples.npy"))
    drawn = results.sample(trial, device="cpu")
    assert drawn.shape == (10, 1, 8, 8) and drawn.dtype == torch.uint8
    assert torch.equal(drawn, measured) and torch.equal(results.sample(trial, 5, device="cpu"), measured[:5])
    assert len(results.sample(trial, 11, device="cpu")) == 11
    assert torch.equal(torch.get_rng_state(), before), "random generators of the caller are as they were"


def test_a_trials_network_is_the_one_that_was_measured(results):
    (trial,) = results.trials["trial"]
    (label,) = results.metrics["ema"].unique()
    network, by_label = results.network(trial), results.network(trial, average=label)
    fresh = ablate.build({"backbone": "tiny"}, (1, 8, 8), 10, plugins=[str(MINE)])
    own = network.state_dict()
    assert not network.training and all(torch.equal(own[k], v) for k, v in by_label.state_dict().items())
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in fresh.state_dict().items()}
    assert any(not torch.equal(own[k], v) for k, v in fresh.state_dict().items()), "it was trained"
    assert network(torch.zeros(2, 1, 8, 8), torch.zeros(2), torch.zeros(2, dtype=torch.long)).shape == (2, 1, 8, 8)


def test_what_is_missing_is_told_in_one_message(results, once, tmp_path):
    (trial,) = results.trials["trial"]
    with pytest.raises(InputError, match="no finished trial is called 'nope'"):
        results.network("nope")
    with pytest.raises(InputError, match="no average is called 'x'"):
        results.network(trial, average="x")
    with pytest.raises(InputError, match="there is no device 'tpu'"):
        results.sample(trial, device="tpu")
    with pytest.raises(InputError, match="n: expected a number of images"):
        results.sample(trial, 0)
    changed = tmp_path / "tiny.py"
    changed.write_text(MINE.read_text() + "\nELSE = 1\n")
    with pytest.raises(InputError, match=r"other source code.*backbone/tiny"):
        results.network(trial, plugins=[str(changed)])
    shutil.rmtree(results.path / "trials" / trial / "checkpoint")
    with pytest.raises(InputError, match="its checkpoint is gone"):
        results.sample(trial)


def test_a_candidate_is_built_as_its_trial_begins_and_draws_nothing_of_the_callers():
    spec = {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 1}}
    before = torch.get_rng_state()
    first, same, other = (ablate.build(spec, (1, 8, 8), 10, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(p.numel() for p in first.parameters()) == ablate.cost(spec, (1, 8, 8), 10).params
    state = first.state_dict()
    assert all(torch.equal(state[k], v) for k, v in same.state_dict().items())
    assert any(not torch.equal(state[k], v) for k, v in other.state_dict().items())


WRONG = {
    "places": {"backbone": {"type": "unet", "conditioning": "adaln"}},
    "variance": {"backbone": {"type": "dit", "patch": 4, "learned_sigma": True}},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_study_refuses_has_no_cost_and_is_not_built_and_says_the_same(name):
    with pytest.raises(InputError) as caught:
        ablate.plan({"study": "x", "data": "digits", "base": WRONG[name], "budget": {"steps": 2}})
    for ask in (ablate.cost, ablate.build):
        with pytest.raises(SpecError) as refused:
            ask(WRONG[name], (1, 8, 8), 10)
        assert all(f"base.{problem}" in str(caught.value) for problem in refused.value.problems)
