"""Guidance: the arithmetic, the number of calls, and what it asks of a candidate."""

import pytest
import torch
from pydantic import ValidationError

from ablate.api import InputSpec, Process
from ablate_zoo.guidance.cfg import Cfg
from ablate_zoo.guidance.none import NoGuidance
from ablate_zoo.precondition.none import NoPrecondition
from ablate_zoo.schedule.beta import Linear
from ablate_zoo.target.epsilon import Epsilon
from ablate_zoo.target.v import Velocity
from ablate_zoo.weighting.uniform import UniformWeighting

NULL = 10


class Counting:
    """A predictor whose answer depends on x and the label; it counts its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, labels):
        self.calls.append((x, labels))
        return x * (1 if labels is None else 1 + labels.to(x.dtype).reshape(-1, 1, 1, 1))


def level():
    process = Process(Linear(), Epsilon(), NoPrecondition(), UniformWeighting(), 0.6)
    return process.level(torch.tensor(0.5, dtype=torch.float64))


def test_none_is_one_plain_call():
    predict, x = Counting(), torch.randn(3, 1, 2, 2)
    assert torch.equal(NoGuidance().predict(predict, x, None, NULL, level()), x)
    assert len(predict.calls) == 1
    assert NoGuidance().drop_rate() == 0
    assert NoGuidance().describe() == "none"


@pytest.mark.parametrize("scale", [0.0, 1.0, 1.5, 4.0])
def test_cfg_goes_from_no_class_towards_the_class(scale):
    predict, x, labels = Counting(), torch.randn(3, 1, 2, 2), torch.tensor([1, 2, 3])
    y = Cfg(scale=scale).predict(predict, x, labels, NULL, level())
    given, plain = Counting()(x, labels), Counting()(x, torch.full_like(labels, NULL))
    assert torch.allclose(y, plain + scale * (given - plain))
    assert len(predict.calls) == 1
    assert predict.calls[0][1].tolist() == [1, 2, 3, NULL, NULL, NULL]


def test_cfg_computes_in_fp32():
    def predict(x, labels):
        return (x * (1 + labels.reshape(-1, 1, 1, 1) / 256)).bfloat16()

    x = torch.ones(1, 1, 2, 2)
    y = Cfg(scale=3.0).predict(predict, x, torch.tensor([2]), 0, level())
    assert y.dtype == torch.float32
    assert torch.allclose(y, 1 + 3 * ((1 + 2 / 256) * x - 1))


def test_cfg_leaves_a_learned_variance_alone():
    def predict(x, labels):
        return torch.cat([x, labels.to(x.dtype).reshape(-1, 1, 1, 1) * torch.ones_like(x)], 1)

    y = Cfg(scale=3.0).predict(predict, torch.zeros(2, 1, 2, 2), torch.tensor([4, 5]), NULL, level())
    assert y[:, 1, 0, 0].tolist() == [4, 5]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_cfg_means_the_same_for_every_target(scale):
    """Two networks that say the same in other terms are guided to the same image."""
    clean = {1: 0.3, NULL: -0.2}
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for target in (Epsilon(), Velocity()):
        process = Process(Linear(), target, NoPrecondition(), UniformWeighting(), 0.6)
        at = process.level(torch.tensor(0.4, dtype=torch.float64))

        def network(x, noise, labels, target=target, at=at):
            x0 = torch.stack([torch.full_like(x[0], clean[int(label)]) for label in labels])
            return target.value(x0, (x - at.alpha * x0) / at.sigma, at)

        denoise = process.denoiser(network, Cfg(scale=scale), torch.tensor([1, 1]), NULL)
        found.append(denoise(x, 0.4).x0)
    assert torch.allclose(found[0], found[1], atol=1e-6)
    assert torch.allclose(found[0], torch.full_like(x, -0.2 + scale * 0.5), atol=1e-6)


def test_what_cfg_requires_and_says():
    assert set(Cfg().requires()) == {"null_class", "conditions"}
    assert Cfg(drop=0.2).drop_rate() == 0.2
    assert Cfg(scale=1.5).describe() == "cfg(1.5)"
    with pytest.raises(ValueError, match="labels"):
        Cfg().predict(Counting(), torch.zeros(1, 1, 2, 2), None, NULL, level())


@pytest.mark.parametrize(("t", "calls"), [(0.05, 3), (0.4, 6), (0.95, 3)])
def test_an_interval_limits_guidance_and_its_cost(t, calls):
    guidance, predict = Cfg(scale=3.0, sigma_low=0.2, sigma_high=5.0), Counting()
    process = Process(Linear(), Epsilon(), NoPrecondition(), UniformWeighting(), 0.6)
    x, labels = torch.randn(3, 1, 2, 2), torch.tensor([1, 2, 3])
    at = process.level(torch.tensor(t, dtype=torch.float64))
    y = guidance.predict(predict, x, labels, NULL, at)
    assert len(predict.calls[0][0]) == calls
    assert (0.2 < float(at.sigma / at.alpha) <= 5) == (calls == 6)
    plain = Counting()(x, labels)
    assert torch.equal(y, plain) == (calls == 3)
    assert guidance.describe() == "cfg(3, 0.2-5)"


def test_only_the_first_channels_are_guided():
    predict, x, labels = Counting(), torch.randn(2, 4, 2, 2), torch.tensor([1, 2])
    y = Cfg(scale=3.0, channels=3).predict(predict, x, labels, NULL, level())
    everything = Cfg(scale=3.0).predict(predict, x, labels, NULL, level())
    assert torch.equal(y[:, :3], everything[:, :3])
    assert torch.allclose(y[:, 3], Counting()(x, labels)[:, 3])
    assert Cfg(channels=3).describe() == "cfg(1.5, channels=3)"
    assert Cfg(channels=3).refuse(InputSpec((1, 8, 8), 10)) is not None
    assert Cfg(channels=3).refuse(InputSpec((4, 8, 8), 10)) is None


def test_an_empty_interval_is_refused():
    with pytest.raises(ValidationError, match="must lie below"):
        Cfg(sigma_low=2.0, sigma_high=1.0)
