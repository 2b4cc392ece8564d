"""Averages beside their closed forms, and rebuilt ones beside those that were tracked all along."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from segments_for_tests import after, candidate, job, read, run
from sklearn.datasets import load_digits
from torch import nn

from ablate.discovery.catalog import catalog
from ablate.errors import InputError, SpecError
from ablate.kinds.executor import Stopped
from ablate.training.checkpoint import newest
from ablate.training.snapshots import Snapshots
from ablate_zoo.ema._post_hoc import Profile, exponent, products, rebuild, relative_length
from ablate_zoo.ema.checkpoints import CheckpointEma
from ablate_zoo.ema.constant import ConstantEma
from ablate_zoo.ema.none import NoEma
from ablate_zoo.ema.post_hoc import PostHocEma
from ablate_zoo.ema.power import PowerEma

STEPS, BATCH = 600, 32


def follow(config, values, batch):
    """The average of one parameter that is 10 and then takes these values, one a step."""
    parameter = nn.Parameter(torch.tensor([10.0]))
    average = config.build({"w": parameter})
    for step, value in enumerate(values, start=1):
        with torch.no_grad():
            parameter.fill_(value)
        average.update(step * batch, batch)
    return float(next(iter(average.weights().values()))["w"])


# --- constant ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "d"),
    [
        (ConstantEma(halflife=200, rampup=0), 0.5 ** (64 / 200)),
        (ConstantEma(by="decay", decay=0.9, per=32, rampup=0), 0.9**2),
        (ConstantEma(by="decay", decay=0, rampup=0), 0.0),
    ],
)
def test_constant_is_the_closed_form(config, d):
    values = [1.0, -2.0, 3.0, 5.0, -1.0]
    expected = 10 * d**5 + sum((1 - d) * d ** (4 - i) * v for i, v in enumerate(values))
    assert follow(config, values, 64) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rampup", [0, 0.05])
@pytest.mark.parametrize("config", [ConstantEma(halflife=300), ConstantEma(by="decay", decay=0.8, per=64)])
def test_the_same_images_in_other_batches_give_the_same_constant_average(config, rampup):
    """Weights that change every 480 images: exact without the ramp, which is followed from step to step."""
    config = config.model_copy(update={"rampup": rampup})
    found = [
        follow(config, [float(v) for v in (0, 1, 4, 2) for _ in range(480 // batch)], batch) for batch in (4, 8, 16)
    ]
    assert found == pytest.approx([found[0]] * 3, rel=0.03 if rampup else 1e-5)


def test_the_ramp_forgets_the_initial_weights_of_a_short_run():
    with_ramp, without = (follow(ConstantEma(rampup=r), [0.0] * 20, 64) for r in (0.05, 0))
    assert abs(with_ramp) < 1e-5
    assert without > 9.9


@given(st.integers(1, 10**9), st.integers(1, 4096), st.floats(0, 1), st.floats(1, 1e12), st.floats(0, 0.999999))
@settings(max_examples=100, deadline=None)
def test_what_stays_is_a_share_and_never_above_the_plain_one(seen, batch, rampup, halflife, decay):
    images = max(seen, batch)
    for spec in ({"halflife": halflife}, {"by": "decay", "decay": decay}):
        share = ConstantEma(**spec, rampup=rampup).share(images, batch)
        assert 0 <= share <= ConstantEma(**spec, rampup=0).share(images, batch) <= 1


# --- power ---------------------------------------------------------------------------------------


@given(st.floats(0.001, 12**-0.5))
@settings(max_examples=50, deadline=None)
def test_the_exponent_has_the_length_that_was_asked_for(length):
    assert relative_length(exponent(length)) == pytest.approx(length, rel=1e-6)


def test_exponents_are_those_of_the_paper():
    """Karras et al. 2024: σ_rel of 5 and 10 % are γ = 16.97 and 6.94."""
    assert [exponent(0.05), exponent(0.1)] == pytest.approx([16.97, 6.94], abs=5e-3)


@pytest.mark.parametrize(("a", "b"), [((3.0, 1.0), (0.5, 0.4)), ((16.97, 0.7), (6.94, 1.0)), ((2.0, 1.0), (2.0, 1.0))])
def test_inner_products_are_the_integrals(a, b):
    def p(gamma, t, tau):
        return (gamma + 1) * tau**gamma / t ** (gamma + 1)

    integral = quad(lambda tau: p(*a, tau) * p(*b, tau), 0, min(a[1], b[1]))[0]
    assert products([Profile(*a)], [Profile(*b)])[0, 0] == pytest.approx(integral, rel=1e-8)


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.25])
def test_power_is_the_closed_form_whatever_the_batch(length):
    """Weights 0, 1, 4, 2, each for 480 images: Σ v·(b^(γ+1) − a^(γ+1)) / T^(γ+1); the initial 10 counts nothing."""
    ends = (np.arange(5) / 4) ** (exponent(length) + 1)
    expected = float(np.diff(ends) @ [0, 1, 4, 2])
    for batch in (1, 16, 480):
        values = [float(v) for v in (0, 1, 4, 2) for _ in range(480 // batch)]
        assert follow(PowerEma(length=length), values, batch) == pytest.approx(expected, rel=2e-5)


# --- post hoc ------------------------------------------------------------------------------------


class Held(dict):
    """Snapshots in memory, in the format of the files."""

    @property
    def images(self):
        return sorted(self)

    def load(self, images):
        return {name: value.float() for name, value in self[images].items()}


@cache
def trajectory(kind):
    """(STEPS, D) float32: the weights of a network that learns digits, or a made-up path."""
    torch.manual_seed(0)
    if kind == "wandering":  # a drift, an oscillation and a random walk around weights of size one
        time = torch.linspace(0, 1, STEPS)[:, None]
        walk = torch.randn(STEPS, 500).cumsum(0) / STEPS**0.5 * 0.05
        return torch.randn(500) + torch.randn(500) * time**0.5 + 0.1 * torch.sin(20 * time + torch.randn(500)) + walk
    x0 = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1
    net = nn.Sequential(nn.Linear(65, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 64))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    found = []
    for _ in range(STEPS):
        x, t = x0[torch.randint(len(x0), (BATCH,))], torch.rand(BATCH, 1)
        noise = torch.randn_like(x)
        loss = (net(torch.cat([x.lerp(noise, t), t], 1)) - (noise - x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(nn.utils.parameters_to_vector(net.parameters()).detach().clone())
    return torch.stack(found)


def train(config, path):
    """The average along a path, and its snapshots."""
    parameter = nn.Parameter(torch.zeros(path.shape[1]))
    average, kept, total = config.build({"w": parameter}), Held(), len(path) * BATCH
    for step, weights in enumerate(path, start=1):
        with torch.no_grad():
            parameter.copy_(weights)
        average.update(step * BATCH, BATCH)
        if average.due(step * BATCH, BATCH, total):
            kept[step * BATCH] = {name: value.clone() for name, value in average.snapshot().items()}
    return average, kept


def off(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("path", ["digits", "wandering"])
@pytest.mark.parametrize(("store", "snapshots"), [("fp32", 16), ("fp16", 16), ("fp32", 32)])
def test_a_rebuilt_average_is_the_tracked_one_to_a_thousandth(path, store, snapshots):
    """At every length that the component says it can give from 16 (0.038 to 0.172) and from 32 snapshots."""
    config = PostHocEma(store=store, snapshots=snapshots)
    average, kept = train(config, trajectory(path))
    assert len(kept) == snapshots
    shortest, longest = config.lengths(kept.images)
    assert shortest < 0.0381
    assert longest > 0.172
    lengths = [shortest, 0.05, 0.07, 0.1, 0.15, longest]
    rebuilt = config.rebuild(lengths, kept)
    for length in lengths:
        tracked, _ = train(PowerEma(length=length), trajectory(path))
        ((_, exact),) = tracked.weights().items()
        assert off(rebuilt[config.label(length)]["w"], exact["w"]) < 1e-3, length
    assert off(average.weights()["post_hoc(0.1)"]["w"], rebuilt["post_hoc(0.1)"]["w"]) < 5e-4


def test_what_lies_between_two_lengths_can_be_rebuilt_too():
    for snapshots in (8, 12, 100):
        config, at = PostHocEma(snapshots=snapshots), range(7, 7 * snapshots + 1, 7)
        assert not [n for n in np.linspace(*config.lengths(at), 40) if config.reason(float(n), at)]


def test_the_error_that_is_told_is_that_of_the_profile():
    """The closed form beside a fine grid over time."""
    kept = [Profile(g, t) for t in (0.25, 0.5, 0.75, 1.0) for g in (16.97, 6.94)]
    found = rebuild(Profile(3.0, 1.0), kept)
    tau = (np.arange(200_000) + 0.5) / 200_000
    profiles = [np.where(tau <= t, (g + 1) * tau**g / t ** (g + 1), 0) for g, t in kept]
    missed = 4 * tau**3 - found.coefficients @ np.array(profiles)
    assert found.error == pytest.approx(math.sqrt((missed**2).mean() / (16 * tau**6).mean()), rel=1e-3)
    assert found.coefficients.sum() == pytest.approx(1, abs=1e-9)


def test_what_is_measured_is_what_was_asked_for():
    config = PostHocEma(length=0.07, also=(0.1, 0.15))
    average, kept = train(config, trajectory("wandering"))
    found = config.measured(average, kept)
    assert list(found) == ["post_hoc(0.07)", "post_hoc(0.1)", "post_hoc(0.15)"]
    assert found["post_hoc(0.1)"] is average.weights()["post_hoc(0.1)"]  # tracked: nothing is rebuilt


def test_checkpoints_are_averaged_by_the_time_they_stand_for():
    config = CheckpointEma(length=0.15, snapshots=16)
    average, kept = train(config, trajectory("wandering"))
    ((label, found),) = config.measured(average, kept).items()
    times = np.array([0, *kept]) / (STEPS * BATCH)
    weights = np.diff(times ** (exponent(0.15) + 1))
    expected = sum(w * kept[at]["0.w"].float() for w, at in zip(weights, kept, strict=True))
    assert label == "checkpoints(0.15)"
    assert off(found["w"], expected) < 1e-6
    tracked, _ = train(PowerEma(length=0.15), trajectory("wandering"))
    ((_, exact),) = tracked.weights().items()
    assert 1e-3 < off(found["w"], exact["w"]) < 0.1  # near, and not what post_hoc gives


@pytest.mark.parametrize("batch", [16, 48, 500])
def test_snapshots_are_spread_evenly_whatever_the_batch(batch):
    average = PostHocEma(snapshots=8).build({"w": nn.Parameter(torch.zeros(1))})
    total = batch * math.ceil(10_000 / batch)
    at = [n for n in range(batch, total + 1, batch) if average.due(n, batch, total)]
    assert at[-1] == total
    assert len(at) == 8
    assert all(0 <= n - total * (i + 1) / 8 < batch for i, n in enumerate(at))
    assert not average.due(batch, batch, math.inf)


# --- in a trial's folder -------------------------------------------------------------------------

KEEPS = {"ema": {"type": "post_hoc", "snapshots": 10, "also": [0.05], "store": "fp32"}}


def test_snapshots_survive_an_interruption(tmp_path):
    """Stopped after 7 and 9 steps of 20, its files are those of a run in one go; what lay ahead is forgotten."""
    whole = job(tmp_path / "whole", candidate(more=KEEPS), {"steps": 20})
    broken = job(tmp_path / "broken", candidate(more=KEEPS), {"steps": 20})
    run(whole)
    for steps in (7, 9):
        with pytest.raises(Stopped):
            run(broken, after(steps))
    folders = [tmp_path / name / whole["trial"] / "snapshots" for name in ("whole", "broken")]
    Snapshots(folders[1]).keep(19 * 32, {"0.w": torch.zeros(1)})
    (folders[1] / ".000000000640.safetensors.x.tmp").write_bytes(b"half")
    run(broken)
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1]
    assert Snapshots(folders[0]).images == list(range(64, 641, 64))
    labels = [row["ema"] for row in read(whole, "record.json")["metrics"]]
    assert labels == ["post_hoc(0.1)", "post_hoc(0.05)"]


def test_a_finished_trial_gives_any_length_from_its_folder_alone(tmp_path):
    made = candidate(more=KEEPS)
    trial = job(tmp_path, made, {"steps": 20})
    run(trial)
    folder = tmp_path / trial["trial"]
    snapshots, last = Snapshots(folder / "snapshots"), newest(folder / "checkpoint", "cpu")
    shortest, longest = made.ema.lengths(snapshots.images)
    assert shortest < 0.05 < 0.1 < longest
    found = made.ema.rebuild([0.1, longest], snapshots)
    for name, value in found["post_hoc(0.1)"].items():  # the tracked average of the checkpoint
        torch.testing.assert_close(value, last.tensors[f"average.1.{name}"], rtol=1e-5, atol=1e-6)
    (folder / "snapshots" / f"{10 * 32:012d}.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"000000000320\.safetensors: the snapshot cannot be read"):
        made.ema.rebuild([longest], snapshots)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"type": "constant", "by": "decay", "decay": 1.0}, "decay: input should be less than 1"),
        ({"type": "constant", "by": "decay", "decay": -0.1}, "decay: input should be greater than or equal to 0"),
        ({"type": "constant", "halflife": 0}, "halflife: input should be greater than 0"),
        ({"type": "power", "length": 0.3}, "length: input should be less than or equal to 0.2886"),
        ({"type": "power", "length": 0}, "length"),
        (
            {"type": "post_hoc", "length": 0.02},
            r"length 0\.02 cannot .* 16 snapshots: they miss 12\.0% .* lengths from 0\.0380 to 0\.1728 can",
        ),
        ({"type": "post_hoc", "also": [0.05, 0.25]}, r"length 0\.25 cannot .* they miss 7\.9%"),
        ({"type": "post_hoc", "length": 0.03, "snapshots": 32}, "rounding to fp16 costs"),
        ({"type": "post_hoc", "short": 0.1, "long": 0.05}, "short .* below long"),
        ({"type": "checkpoints", "length": 0.05}, "shorter than the time between two of them"),
        ({"type": "post_hoc", "snapshots": 4}, "snapshots: input should be greater than or equal to 8"),
    ],
)
def test_what_cannot_be_is_refused_when_the_study_is_read(spec, told):
    with pytest.raises(SpecError, match=told):
        catalog().create("ema", spec)


@pytest.mark.parametrize(
    ("config", "length", "told"),
    [
        (PostHocEma(), 0.25, "they miss 7.9% of its profile"),
        (PostHocEma(), 0.02, "lengths from 0.0380 to 0.1728 can"),
        (PostHocEma(), 5.0, "no relative length"),
        (CheckpointEma(), 0.03, "shorter than the time between"),
        (PowerEma(), 0.05, "keeps no snapshots"),
        (NoEma(), 0.05, "keeps no snapshots"),
    ],
)
def test_lengths_outside_of_what_snapshots_give_are_refused(config, length, told):
    kept = Held({n: {} for n in range(100, 1700, 100)})
    with pytest.raises(InputError, match=told):
        config.rebuild([length], kept)
    with pytest.raises(InputError, match="no snapshots"):
        config.rebuild([0.1], Held())


def test_an_average_is_apart_from_the_network_and_of_one_network():
    parameters = {"w": nn.Parameter(torch.ones(3))}
    for config in (ConstantEma(), PowerEma(), PostHocEma()):
        average = config.build(parameters)
        for weights in average.weights().values():
            assert not weights["w"].requires_grad
            assert weights["w"].data_ptr() != parameters["w"].data_ptr()
        with pytest.raises(KeyError, match="other parameters"):
            average.load({"w": torch.zeros(1)})
    (live,) = NoEma().build(parameters).weights().values()
    assert live["w"] is parameters["w"]
