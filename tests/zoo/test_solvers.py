"""Solvers: equality with diffusers, and the closed form for Gaussian data with the optimal denoiser."""

import itertools
import math
import types

import pytest
import torch
from pydantic import ValidationError

from ablate.api import Denoised, Process, posterior
from ablate.kinds.solver import CLEAN, Point
from ablate_zoo.guidance.cfg import Cfg
from ablate_zoo.precondition.edm import EdmPrecondition
from ablate_zoo.schedule.beta import Linear
from ablate_zoo.schedule.cosine import Cosine
from ablate_zoo.schedule.edm import Edm
from ablate_zoo.schedule.rectified_flow import RectifiedFlow
from ablate_zoo.solver.ddim import Ddim
from ablate_zoo.solver.ddpm import Ddpm
from ablate_zoo.solver.dpmpp_2m import Dpmpp2m
from ablate_zoo.solver.edm import Euler, Heun
from ablate_zoo.solver.sde import Sde
from ablate_zoo.target.v import Velocity
from ablate_zoo.weighting.min_snr import MinSnr

MEAN, DEVIATION = 0.4, 0.5
SOLVERS = [
    *(Ddim(), Ddim(eta=1.0), Ddim(grid="uniform"), Heun(), Heun(churn=40.0), Euler(), Euler(churn=10.0)),
    *(Euler(grid="karras"), Ddpm(), Ddpm(variance="large"), Dpmpp2m(grid="karras"), Dpmpp2m(), Sde(scale=2.0)),
]
SCHEDULES = [Linear(), Cosine(), Linear(zero_terminal_snr=True), Edm(), RectifiedFlow()]


def fits(solver, schedule) -> bool:
    return not set(solver.excludes()) & schedule.provides()


PAIRS = [(solver, schedule) for solver in SOLVERS for schedule in SCHEDULES if fits(solver, schedule)]


def coefficients(schedule, t):
    t = torch.tensor(t, dtype=torch.float64)
    return float(schedule.alpha(t)), float(schedule.sigma(t))


def optimal(schedule, calls=None):
    """E[x0 | x] for x0 ~ N(MEAN, DEVIATION²), the denoiser that a perfect network would be."""

    def denoise(x, t):
        alpha, sigma = coefficients(schedule, t)
        variance = (alpha * DEVIATION) ** 2 + sigma**2
        score = -(x - alpha * MEAN) / variance
        if calls is not None:
            calls.append(t)
        return Denoised(x0=MEAN + alpha * DEVIATION**2 / variance * (x - alpha * MEAN), noise=-sigma * score)

    return denoise


def start(solver, schedule, z):
    """x where the solver starts, as the forward process has it."""
    alpha, sigma = coefficients(schedule, solver.start(schedule).t)
    return alpha * MEAN + math.hypot(alpha * DEVIATION, sigma) * z


def run(solver, schedule, z, seed=0, calls=None):
    """All states, in float64 and without clipping."""
    solver = solver.model_copy(update={"clip": False})
    generator = torch.Generator().manual_seed(seed)
    return list(solver.sample(optimal(schedule, calls), start(solver, schedule, z), schedule, generator))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("solver", "schedule"), PAIRS, ids=repr)
def test_gaussian_data_come_out_with_the_right_mean_and_variance(solver, schedule):
    z = draw(20_000, 1, 1, 1).float()  # drawn ten times as fast as in float64
    x = run(solver.model_copy(update={"steps": 400}), schedule, z)[-1].x
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(x.std()) == pytest.approx(DEVIATION, abs=0.02)


def order(solver, schedule, steps):
    """Slope of log error over log steps, against the exact solution of the probability-flow equation."""
    z = torch.tensor([-2.0, -0.5, 1.0, 2.0], dtype=torch.float64).reshape(4, 1, 1, 1)
    exact = MEAN + DEVIATION * z
    errors = [
        float((run(solver.model_copy(update={"steps": n}), schedule, z)[-1].x - exact).abs().max()) for n in steps
    ]
    assert errors[-1] < errors[0]
    return math.log(errors[0] / errors[-1]) / math.log(steps[-1] / steps[0]), errors


ORDERS = [(Ddim(grid="karras"), 1), (Euler(grid="karras"), 1), (Heun(), 2), (Dpmpp2m(grid="karras"), 2)]


@pytest.mark.parametrize(("solver", "expected"), ORDERS, ids=repr)
def test_order_of_convergence(solver, expected):
    # An EDM-like range of noise, so that steps alone decide the error and not the jump to the clean image.
    schedule = Linear(beta_start=1e-7, beta_end=0.03)
    slope, errors = order(solver, schedule, (32, 128))
    assert slope == pytest.approx(expected, abs=0.2), errors


@pytest.mark.parametrize(("solver", "schedule"), PAIRS, ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_evaluations_are_counted_and_times_fall(solver, schedule, steps):
    solver, calls = solver.model_copy(update={"steps": steps}), []
    states = run(solver, schedule, draw(2, 1, 2, 2), calls=calls)
    assert states[-1].nfe == len(calls) == solver.nfe()
    assert len(states) == steps
    assert states[-1].t == 0
    assert all(a.t >= b.t for a, b in itertools.pairwise(states))  # a grid may end at 0, before the clean image
    assert all(isinstance(t, float) for t in calls)
    assert calls[0] >= solver.start(schedule).t - 1e-9  # churn may raise it
    assert all(state.x.isfinite().all() for state in states)


@pytest.mark.parametrize("grid", ["trailing", "uniform", "karras"])
def test_grids(grid):
    solver = Ddim(steps=5, grid=grid)
    points = solver.points(Linear())
    t = [p.t for p in points]
    assert points[-1] == CLEAN
    assert len(points) == 6
    if grid == "trailing":
        assert t == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0])
    elif grid == "uniform":
        assert t == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])
    else:
        root = [p.ratio ** (1 / 7) for p in points[:-1]]
        gaps = [a - b for a, b in itertools.pairwise(root)]
        assert gaps == pytest.approx([gaps[0]] * 4, rel=1e-3)
        assert points[0].ratio == pytest.approx(80, rel=1e-3)  # `linear` itself goes on to 157
        assert t[4] == pytest.approx(0, abs=1e-9)


def test_clipping_keeps_the_image_in_range_and_the_noise_consistent():
    schedule, x = Linear(), 3 * draw(4, 1, 2, 2)

    def wild(x, t):
        return Denoised(x0=5 * x, noise=x)

    solver = Ddim(steps=4)
    for at in solver.points(schedule)[:-1]:
        found = solver.denoised(wild, x, at)
        assert found.x0.abs().max() <= 1
        assert torch.allclose(at.alpha * found.x0 + at.sigma * found.noise, x)
    last = list(solver.sample(wild, x, schedule, torch.Generator()))[-1]
    assert last.x.abs().max() <= 1


def on_their_steps(solver, scheduler, schedule, steps):
    """Our solver on the steps of one of diffusers' schedulers, and the scheduler with our exact table."""
    scheduler.alphas_cumprod = schedule.alphas_bar(1000)  # their own is in fp32
    scheduler.final_alpha_cumprod = scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(steps)
    times = [int(i) / 999 for i in scheduler.timesteps]

    class OnTheirSteps(type(solver)):
        def points(self, schedule):
            return [*(Point(t, *coefficients(schedule, t)) for t in times), CLEAN]

    return OnTheirSteps(**(dict(solver) | {"steps": steps, "clip": False}))


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=lambda s: s.name)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_steps_are_those_of_diffusers(schedule, eta):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    solver = on_their_steps(Ddim(eta=eta), theirs, schedule, 20)
    x = draw(2, 1, 4, 4)
    ours = list(solver.sample(optimal(schedule), x, schedule, torch.Generator().manual_seed(3)))
    generator = torch.Generator().manual_seed(3)
    for i, state in zip(theirs.timesteps, ours, strict=True):
        eps = optimal(schedule)(x, int(i) / 999).noise
        x = theirs.step(eps, int(i), x, eta=eta, generator=generator).prev_sample
        assert (state.x - x).abs().max() <= 1e-6


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=lambda s: s.name)
@pytest.mark.parametrize(
    ("variance", "theirs"), [("small", "fixed_small"), ("large", "fixed_large"), ("learned", "learned_range")]
)
def test_ddpm_steps_are_those_of_diffusers(schedule, variance, theirs):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(variance_type=theirs, clip_sample=False, timestep_spacing="trailing")
    solver = on_their_steps(Ddpm(variance=variance), scheduler, schedule, 20)
    raw = draw(2, 1, 4, 4, seed=9).tanh()

    def denoise(x, t):
        return optimal(schedule)(x, t)._replace(variance=raw)

    x = draw(2, 1, 4, 4)
    ours = list(solver.sample(denoise, x, schedule, torch.Generator().manual_seed(3)))
    generator = torch.Generator().manual_seed(3)
    for i, state in list(zip(scheduler.timesteps, ours, strict=True))[:-1]:  # theirs adds noise also to the last
        output = denoise(x, int(i) / 999).noise
        if variance == "learned":
            output = torch.cat([output, raw], 1)
        x = scheduler.step(output, int(i), x, generator=generator).prev_sample
        assert (state.x - x).abs().max() <= 1e-6


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # raised within diffusers
@pytest.mark.parametrize("solver", [Heun(), Euler(), Dpmpp2m()], ids=lambda s: s.name)
def test_steps_in_the_ratio_of_noise_are_those_of_diffusers(solver):
    """Theirs keep x/α (DPM-Solver: x) and σ/α; ours x, α and σ: the same path in other coordinates."""
    diffusers = pytest.importorskip("diffusers")
    schedule, solver = Linear(), solver.model_copy(update={"steps": 12, "clip": False})
    betas = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    theirs = {
        "heun": diffusers.HeunDiscreteScheduler,
        "euler": diffusers.EulerDiscreteScheduler,
        "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    }[solver.name](**betas)
    theirs.set_timesteps(12)
    ratios = torch.tensor([p.ratio for p in solver.points(schedule)], dtype=torch.float64)
    middle = ratios[1:-1].repeat_interleave(2) if solver.name == "heun" else ratios[1:-1]
    theirs.sigmas = torch.cat([ratios[:1], middle, ratios[-1:]])
    # only labels, each its own, by which the scheduler finds its place
    theirs.timesteps = torch.arange(1000, 1001 - len(theirs.sigmas), -1, dtype=torch.float64)
    theirs._step_index = 0
    if solver.name == "euler":
        theirs.is_scale_input_called = True

    x = start(solver, schedule, draw(2, 1, 4, 4))
    ours = list(solver.sample(optimal(schedule), x, schedule, torch.Generator()))
    scaled = solver.name != "dpmpp_2m"
    y = x / solver.start(schedule).alpha if scaled else x
    for label in theirs.timesteps:
        ratio = float(theirs.sigmas[theirs.step_index])
        t = float(schedule.time(torch.tensor(-2 * math.log(ratio), dtype=torch.float64)))
        noise = optimal(schedule)(coefficients(schedule, t)[0] * y if scaled else y, t).noise
        y = theirs.step(noise, label, y).prev_sample
    assert (ours[-1].x - y).abs().max() <= 1e-6


def test_ddim_with_all_its_noise_is_ddpm():
    for schedule in SCHEDULES:
        ddim, ddpm = (run(s, schedule, draw(4, 1, 2, 2)) for s in (Ddim(eta=1.0, steps=50), Ddpm(steps=50)))
        assert all(torch.allclose(a.x, b.x, atol=1e-9) for a, b in zip(ddim, ddpm, strict=True))


def test_euler_without_churn_is_ddim():
    for schedule in SCHEDULES:
        euler, ddim = (run(s, schedule, draw(4, 1, 2, 2))[-1].x for s in (Euler(grid="trailing"), Ddim()))
        assert torch.equal(euler, ddim)


def test_churn_starts_a_step_from_more_noise_within_its_bounds():
    solver = Heun(steps=10, churn=2.0, churn_min=0.1, churn_max=10.0)
    for point, up in zip(solver.points(Edm())[:-1], solver.raised(Edm()), strict=True):
        expected = 1.2 if 0.1 <= point.ratio <= 10 else 1.0
        assert up.ratio == pytest.approx(expected * point.ratio)
    most = Heun(steps=10, churn=1000.0).raised(Edm())
    assert most[0].ratio == pytest.approx(80)  # never more than the schedule has
    assert most[5].ratio == pytest.approx(math.sqrt(2) * Heun(steps=10).points(Edm())[5].ratio)
    with pytest.raises(ValidationError, match="must lie below"):
        Heun(churn_min=2.0, churn_max=1.0)


def test_a_learned_variance_is_asked_of_the_backbone():
    assert set(Ddpm(variance="learned").requires()) == {"learned_variance"}
    assert not Ddpm().requires()
    with pytest.raises(ValueError, match="learned variance"):
        run(Ddpm(variance="learned"), Linear(), draw(1, 1, 2, 2))


def test_steps_below_one_are_refused():
    for kind in (Ddim, Ddpm, Euler, Heun, Dpmpp2m):
        with pytest.raises(ValidationError):
            kind(steps=0)


def test_heun_says_where_it_cannot_run():
    assert not fits(Heun(), Linear(zero_terminal_snr=True))
    assert "ddim" in Heun().excludes()["zero_terminal_snr"]
    assert not fits(Ddim(grid="karras"), Linear(zero_terminal_snr=True))
    assert fits(Ddim(), Linear(zero_terminal_snr=True))


def test_states_come_one_at_a_time():
    states = Ddim(steps=3).sample(optimal(Linear()), draw(1, 1, 2, 2), Linear(), torch.Generator())
    assert isinstance(states, types.GeneratorType)


@pytest.mark.parametrize("solver", [*SOLVERS, Ddpm(variance="learned")], ids=repr)
def test_no_step_reads_a_value_back_from_the_device(solver):
    """On the meta device there are no values: whatever would wait for one raises."""
    process = Process(Linear(), Velocity(), EdmPrecondition(), MinSnr(), 0.5)
    x, labels = torch.empty(2, 1, 4, 4, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")

    def network(x, noise, labels):
        assert noise.device == x.device
        return torch.cat([x, x], 1) * noise.reshape(-1, 1, 1, 1)

    denoise = process.denoiser(network, Cfg(scale=2.0, sigma_high=10.0), labels, 10)
    states = list(solver.model_copy(update={"steps": 4}).sample(denoise, x, process.schedule, torch.Generator()))
    assert states[-1].nfe == solver.model_copy(update={"steps": 4}).nfe()
    assert states[-1].x.shape == x.shape
    assert states[-1].x.dtype == torch.float32


ENDS = {  # docs/process.md: {solver: (runs with its own grid, runs with `trailing`)} where no signal is left at t = 1
    "ddim": (True, True),
    "ddpm": (True, True),
    "euler": (True, True),
    "heun": (False, False),
    "dpmpp_2m": (True, True),
}


@pytest.mark.parametrize("kind", [Ddim, Ddpm, Euler, Heun, Dpmpp2m], ids=lambda kind: kind.name)
def test_the_documented_table_of_solvers_and_schedules(kind):
    for schedule in SCHEDULES:
        silent = "zero_terminal_snr" in schedule.provides()
        own, trailing = ENDS[kind.name] if silent else (True, True)
        assert fits(kind(), schedule) == own
        assert fits(kind(grid="trailing"), schedule) == trailing


@pytest.mark.parametrize("diffusion", ["sigma", "linear", "cosine", "sine", "forward"])
def test_a_step_of_the_sde_is_that_of_euler_and_maruyama(diffusion):
    """On the straight path: x − h·(v + w/2·ε/σ) + √(w·h)·z, up to second order in the step h; w as SiT has it."""
    t, x = 0.6, torch.linspace(-2, 2, 5, dtype=torch.float64)
    w = {"sigma": t, "linear": t, "cosine": (1 - math.cos(math.pi * t)) ** 2 / 4, "sine": math.sin(math.pi * t) ** 2}
    w["forward"] = 2 * t / (1 - t)  # −σ²·d(log SNR)/dt, with log SNR = 2·ln((1 − t)/t)
    solver, found = Sde(diffusion=diffusion), optimal(RectifiedFlow())(x, t)
    for h in (1e-2, 1e-3):
        now, then = (Point(*values) for values in ((t, 1 - t, t), (t - h, 1 - t + h, t - h)))
        assert solver.fresh_variance(now, then) == pytest.approx(w[diffusion] * h, rel=4 * h)
        fresh = solver.fresh_variance(now, then)
        mean = then.alpha * found.x0 + math.sqrt(then.sigma**2 - fresh) * found.noise
        velocity = found.noise - found.x0
        expected = x - h * (velocity + w[diffusion] / 2 * found.noise / t)
        assert (mean - expected).abs().max() <= 30 * h**2


def test_forward_diffusion_is_ancestral_sampling_in_the_limit():
    """The reverse SDE of the forward process, of which ancestral sampling is a discretisation (Song et al. 2021)."""
    for t in (0.2, 0.5, 0.9):
        now, then = (Point(at, *coefficients(Cosine(), at)) for at in (t, t - 1e-4))
        back = posterior(now.alpha, now.sigma, then.alpha, then.sigma)
        assert Sde(diffusion="forward").fresh_variance(now, then) == pytest.approx(back.small, rel=1e-2)
