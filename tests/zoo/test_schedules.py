"""Schedules: equality with diffusers' tables, and what must hold of any schedule."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ablate.api import InputSpec
from ablate_zoo.schedule.beta import Exponential, Linear, ScaledLinear, Sigmoid
from ablate_zoo.schedule.cosine import Cosine
from ablate_zoo.schedule.edm import Edm
from ablate_zoo.schedule.rectified_flow import RectifiedFlow
from ablate_zoo.schedule.shifted import Shifted

KINDS = [Linear, ScaledLinear, Exponential, Sigmoid, Cosine]
DISCRETE = [
    *(kind() for kind in KINDS),
    *(kind(zero_terminal_snr=True) for kind in KINDS),
    Linear(zero_terminal_snr=True, rescale="beta"),
    Linear(steps=50),
]
SCHEDULES = [
    *(*DISCRETE, Edm(), Edm(sigma_min=0.01, sigma_max=10, rho=1), RectifiedFlow()),
    *(
        Shifted(schedule=of, by=by, factor=3.0)
        for of in (Cosine(), Edm(), RectifiedFlow())
        for by in ("log_snr", "time")
    ),
]


def diffusers_betas(schedule: str, **options):
    diffusers = pytest.importorskip("diffusers")
    return diffusers.DDPMScheduler(beta_schedule=schedule, num_train_timesteps=1000, **options).betas


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Linear(), "linear"),
        (ScaledLinear(beta_start=1e-4, beta_end=0.02), "scaled_linear"),
        (Sigmoid(), "sigmoid"),
        (Cosine(), "squaredcos_cap_v2"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
@pytest.mark.filterwarnings("ignore::FutureWarning:diffusers", "ignore::DeprecationWarning")
def test_beta_tables_are_those_of_diffusers(ours, theirs):
    difference = (ours.betas(1000) - diffusers_betas(theirs).double()).abs().max()
    assert difference <= 1e-7  # theirs is in fp32


@pytest.mark.parametrize("plain", [kind() for kind in KINDS], ids=lambda s: s.name)
def test_zero_terminal_rescaling_is_that_of_diffusers(plain):
    ddim = pytest.importorskip("diffusers.schedulers.scheduling_ddim")
    theirs = (1 - ddim.rescale_zero_terminal_snr(plain.betas(1000))).cumprod(0)  # float64 in, float64 out
    ours = plain.model_copy(update={"zero_terminal_snr": True}).alphas_bar(1000)
    assert (ours - theirs).abs().max() <= 1e-12
    assert ours[-1] == 0
    assert ours[0] == pytest.approx(float(plain.alphas_bar(1000)[0]), abs=1e-15)


def test_known_ends_of_the_tables():
    linear = Linear().alphas_bar(1000)
    assert linear[0] == pytest.approx(0.9999, abs=1e-12)
    assert linear[-1] == pytest.approx(4.0358e-5, rel=1e-4)  # DDPM's: "x_T is nearly noise"
    assert Cosine().betas(1000)[-1] == 0.999
    latent = ScaledLinear().betas(1000)
    assert (float(latent[0]), float(latent[-1])) == pytest.approx((0.00085, 0.012))
    assert ScaledLinear().alphas_bar(1000)[-1] == pytest.approx(0.00466, rel=1e-3)  # Lin et al. 2023, table 1


def test_exponential_rises_by_one_factor():
    betas = Exponential().betas(1000)
    factors = betas[1:] / betas[:-1]
    assert (float(betas[0]), float(betas[-1])) == pytest.approx((1e-4, 0.02))
    assert (factors / factors[0] - 1).abs().max() <= 1e-12


def test_the_cheap_rescaling_of_beta_comes_nowhere_near_zero():
    schedule = Linear(zero_terminal_snr=True, rescale="beta")
    assert schedule.alphas_bar(1000)[-1] == pytest.approx(0.9990, abs=1e-4)
    assert "zero_terminal_snr" not in schedule.provides()


def test_the_variant_is_no_part_of_the_identity_while_it_is_not_read():
    assert Linear(rescale="beta").digest() == Linear().digest()
    assert Linear(rescale="beta", zero_terminal_snr=True).digest() != Linear(zero_terminal_snr=True).digest()


def test_edm_has_the_published_steps():
    t = torch.linspace(0, 1, 18, dtype=torch.float64)
    i = torch.arange(17, -1, -1, dtype=torch.float64)
    published = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert torch.allclose(Edm().sigma(t), published, rtol=1e-12)
    assert (Edm().alpha(t) == 1).all()


def test_rectified_flow_is_a_straight_line():
    t = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    assert RectifiedFlow().alpha(t).tolist() == [1, 0.75, 0]
    assert RectifiedFlow().sigma(t).tolist() == [0, 0.25, 1]


@pytest.mark.parametrize("schedule", DISCRETE, ids=repr)
def test_time_goes_through_every_entry_of_the_table(schedule):
    n = schedule.steps
    t = torch.arange(n, dtype=torch.float64) / (n - 1)
    assert (schedule.alpha(t) ** 2 - schedule.alphas_bar(n)).abs().max() <= 1e-14


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_log_snr_falls_and_ends_are_finite(schedule):
    t = torch.linspace(0, 1, 4001, dtype=torch.float64)
    assert (schedule.log_snr(t).diff() < 0).all()
    assert schedule.alpha(t).isfinite().all()
    assert schedule.sigma(t).isfinite().all()
    assert (schedule.alpha(t[-1]) == 0) == ("zero_terminal_snr" in schedule.provides())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@given(t=st.floats(0, 1))
def test_time_is_the_inverse_of_log_snr(schedule, t):
    there = schedule.log_snr(torch.tensor(t, dtype=torch.float64))
    assert float(schedule.time(there)) == pytest.approx(t, abs=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_time_beyond_the_ends_is_clamped(schedule):
    beyond = torch.tensor([1e4, -1e4, float("inf"), float("-inf")], dtype=torch.float64)
    assert schedule.time(beyond).tolist() == pytest.approx([0, 1, 0, 1])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_slope_is_the_derivative_of_log_snr(schedule):
    t = torch.tensor([0.11111, 0.34567, 0.55555, 0.9], dtype=torch.float64)  # inside the cells of a table
    h = 1e-7
    numeric = (schedule.log_snr(t + h) - schedule.log_snr(t - h)) / (2 * h)
    with torch.inference_mode():
        slope = schedule.slope(t)
    assert torch.allclose(slope, numeric, rtol=1e-5)


@pytest.mark.parametrize("schedule", [s for s in SCHEDULES if "variance_preserving" in s.provides()], ids=repr)
@given(t=st.floats(0, 1))
def test_variance_is_preserved(schedule, t):
    t = torch.tensor(t, dtype=torch.float64)
    assert float(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2) == pytest.approx(1, abs=1e-14)


def test_the_cached_table_can_be_used_in_training_after_inference():
    schedule = Linear(steps=37)
    with torch.inference_mode():
        schedule.alpha(torch.tensor(0.5))
    x = torch.ones(3, requires_grad=True)
    (x * schedule.alpha(torch.zeros(3, dtype=torch.float64))).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    "wrong",
    [{"beta_start": 0.0}, {"beta_end": 1.0}, {"beta_start": 0.02, "beta_end": 0.01}, {"steps": 1}],
    ids=str,
)
def test_impossible_betas_are_refused(wrong):
    with pytest.raises(ValidationError):
        Linear(**wrong)


@pytest.mark.parametrize("wrong", [{"sigma_min": 0.0}, {"sigma_min": 80.0}, {"rho": 0.5}], ids=str)
def test_impossible_ranges_of_noise_are_refused(wrong):
    with pytest.raises(ValidationError):
        Edm(**wrong)


@pytest.mark.parametrize(
    ("kind", "last", "cheap"),
    [
        (Linear, 4.04e-5, 0.9990),
        (ScaledLinear, 4.66e-3, 0.9954),
        (Cosine, 2.43e-9, 0.9995),
        (Exponential, 2.28e-2, 0.9996),
        (Sigmoid, 3.97e-5, 0.9985),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_documented_ends_of_the_tables(kind, last, cheap):
    """docs/process.md: ᾱ at the end, as it is and rescaled either way."""
    assert float(kind().alphas_bar(1000)[-1]) == pytest.approx(last, rel=3e-3)
    assert float(kind(zero_terminal_snr=True).alphas_bar(1000)[-1]) == 0
    assert float(kind(zero_terminal_snr=True, rescale="beta").alphas_bar(1000)[-1]) == pytest.approx(cheap, abs=1e-4)


@pytest.mark.parametrize("of", [Cosine(), Edm(), RectifiedFlow()], ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("shape", [(3, 256, 256), (3, 128, 512), (1, 16, 16)])
def test_a_shift_by_log_snr_is_that_of_simple_diffusion(of, shape):
    """Hoogeboom et al. 2023: log SNR + 2·ln(base / side), and the variance is kept."""
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    shifted = Shifted(schedule=of).for_setting(InputSpec(shape, None))
    side = math.sqrt(shape[1] * shape[2])
    assert torch.allclose(shifted.log_snr(t), of.log_snr(t) + 2 * math.log(64 / side), atol=1e-9)
    assert torch.allclose(2 * (shifted.alpha(t) / shifted.sigma(t)).log(), shifted.log_snr(t), atol=1e-7)
    assert torch.allclose(shifted.alpha(t) ** 2 + shifted.sigma(t) ** 2, torch.ones_like(t), atol=1e-12)


def test_a_shift_of_time_is_that_of_stable_diffusion_3():
    """Esser et al. 2024, eq. 23: √(m/n)·t / (1 + (√(m/n) − 1)·t); on the straight path its SNR is that of the other."""
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    data = InputSpec((4, 96, 96), None)
    shifted = Shifted(schedule=RectifiedFlow(), by="time", base=32).for_setting(data)
    there = math.sqrt(96 * 96 / 32**2) * t / (1 + (math.sqrt(96 * 96 / 32**2) - 1) * t)
    assert torch.allclose(shifted.sigma(t), there, atol=1e-14)
    assert torch.allclose(shifted.alpha(t), 1 - there, atol=1e-14)
    by_snr = Shifted(schedule=RectifiedFlow(), by="log_snr", base=32).for_setting(data)
    assert torch.allclose(by_snr.log_snr(t[1:-1]), shifted.log_snr(t[1:-1]), atol=1e-9)


def test_a_shift_that_does_not_know_the_data_gives_no_numbers():
    with pytest.raises(ValueError, match="for_setting"):
        Shifted(schedule=Cosine()).alpha(torch.tensor(0.5))
    own = Shifted(schedule=Shifted(schedule=Cosine(), base=32), base=16)
    inner = own.for_setting(InputSpec((1, 64, 64), None)).schedule
    assert (inner.factor, own.schedule.factor) == (2.0, None), "the one within follows from the data too"
