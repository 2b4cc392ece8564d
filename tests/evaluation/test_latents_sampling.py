"""Latents reach beyond [-1, 1]: `clip: auto` leaves them alone, and their deviation is not taken for that of pixels."""

import numpy as np
import pytest
import torch
from pictures_for_tests import noise
from torch import nn

from ablate.candidates.candidate import compose
from ablate.candidates.evaluation import Evaluation
from ablate.discovery.catalog import catalog
from ablate.evaluation.measure import measure
from ablate.spec.slots import fill
from ablate.study.sampling import solver_bias_warnings
from ablate_zoo.data.digits import Digits
from ablate_zoo.data.latents import Latents
from ablate_zoo.schedule.cosine import Cosine

KNOWN = catalog()
CPU = torch.device("cpu")
SPEC = {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 1}, "target": "x0"}
DEVIATION = 0.2  # of z: what is drawn is decoded to it, and fits into 8 bits


def candidate(**more):
    return compose({**SPEC, "schedule": "cosine", **more}, KNOWN)


@pytest.fixture
def data(tmp_path):
    """Makes data of stored latents."""
    z = np.random.default_rng(0).normal(0.0, DEVIATION, (400, 2, 4, 4)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    np.savez(tmp_path / "held_out.npz", images=noise(9, size=4), labels=np.arange(9) % 3)
    return lambda **more: Latents(path=str(tmp_path / "z.npy"), reference=str(tmp_path / "held_out.npz"), **more)


class Exact(nn.Module):
    """E[x0 | x] of data of deviation 1 under `cosine`, as a network of target x0 gives it: c_noise is t·999."""

    def forward(self, x, c_noise, labels):
        return x * Cosine().alpha(c_noise.double() / 999).float().reshape(-1, 1, 1, 1)  # over α²·1² + σ² = 1


@pytest.mark.parametrize(("clip", "deviation"), [("auto", 0.976), (True, 0.709)])
def test_samples_of_latents_keep_their_deviation_unless_somebody_clips_them(data, tmp_path, clip, deviation):
    dataset = data(statistics="measured", scale=1.0).load(tmp_path / "cache")
    config = candidate(solver={"type": "ddim", "steps": 50, "clip": clip})
    evaluation = fill(Evaluation, {"metrics": [], "samples": 800, "previews": 800, "batch": 800}, KNOWN)
    setting = data().setting()
    drawn = measure(
        *(config, config.process(1.0), setting, Exact(), {"own": {}}, dataset, evaluation),
        *(0, 0, tmp_path / "cache", CPU),
    )[1]
    x = (drawn / 127.5 - 1 + 1 / 255) / DEVIATION
    assert x.std() == pytest.approx(deviation, rel=0.02)
    assert (abs(x) > 2).any() == (clip == "auto"), "a normal number is beyond 2 once in 22 times"


def test_the_deviation_of_latents_is_read_from_the_first_of_them(data):
    """By statistics it is `scale`; given scales make it what they make it; stored x are as they are."""
    for more, expected in (
        ({"statistics": "measured", "scale": 1.0}, 1.0),
        ({"statistics": "measured", "scale": 0.5}, 0.5),
        ({"scale": 5.0}, 1.0),
        ({"scale": 5.0, "normalised": True}, DEVIATION),
    ):
        assert data(**more).deviation() == pytest.approx(expected, rel=0.03)
    assert Digits().deviation() is None


def test_a_solver_is_judged_by_the_deviation_of_the_latents_that_it_draws(data):
    """Of deviation 1 ddim is 2.4 % off in 50 steps; what is said beside the study counts first."""
    few = candidate(solver={"type": "ddim", "steps": 50})
    [of_latents] = solver_bias_warnings([few], data(statistics="measured", scale=1.0))
    [of_pixels] = solver_bias_warnings([few], Digits())
    assert "2.4 % too narrow" in of_latents and "3.1 % too narrow" in of_pixels
    assert solver_bias_warnings([candidate(sigma_data=1.0, solver={"type": "ddim", "steps": 50})], Digits()) == [
        of_latents
    ]
