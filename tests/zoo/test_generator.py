"""The guided generator of candidates: its encoding, that guidance guides, and that it finds more than chance."""

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from ablate.discovery.catalog import catalog
from ablate.kinds.design import Design
from ablate.kinds.schedule import Schedule
from ablate.kinds.solver import Solver
from ablate.spec.slots import create
from ablate_zoo.design._generator import Encoding, GuidedDiffusion

SPACE = {
    "width": CategoricalDistribution([16, 64, 32]),
    "flag": CategoricalDistribution([True, False, 1]),
    "depth": IntDistribution(2, 10, step=2),
    "count": IntDistribution(1, 1000, log=True),
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "share": FloatDistribution(0.0, 1.0, step=0.25),
    "only": CategoricalDistribution(["one"]),
}


def design(**fields):
    return create(Design, {"type": "generator", **fields}, catalog())


@pytest.mark.parametrize("seed", range(5))
def test_a_candidate_is_decoded_to_itself(seed):
    random = optuna.samplers.RandomSampler(seed=seed)
    params = {name: random.sample_independent(None, None, name, d) for name, d in SPACE.items()}
    encoding = Encoding(SPACE)
    assert encoding.size == 3 + 3 + 4  # what has one choice is not encoded
    vector = encoding.encode(params)
    assert np.abs(vector).max() <= 1
    decoded = encoding.decode(vector)
    assert decoded.keys() == SPACE.keys() - {"only"}
    for name, value in decoded.items():
        assert value == pytest.approx(params[name], rel=1e-5) and type(value) is type(params[name])
    del params["width"]
    assert not encoding.encode(params)[-3:].any()  # the choices that do not exist
    beyond = encoding.decode(vector * 3)
    assert all(SPACE[name]._contains(SPACE[name].to_internal_repr(value)) for name, value in beyond.items())


def test_guidance_draws_what_the_predictor_calls_good():
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randint(0, 2, (40, 6), generator=generator) * 2.0 - 1
    goodness = x0[:, 0] * 1.0
    schedule, solver = (create(kind, name, catalog()) for kind, name in ((Schedule, "cosine"), (Solver, "ddim")))
    solver = solver.model_copy(update={"steps": 10})
    diffusion = GuidedDiffusion(x0, goodness, schedule, 100, generator)
    shares = []
    for scale in (0.0, 16.0):
        drawn = diffusion.draw(100, solver, scale, torch.Generator().manual_seed(1))
        assert drawn.shape == (100, 6) and drawn.abs().max() <= 1.01
        shares.append(float((drawn[:, 0] > 0).float().mean()))
    assert 0.3 < shares[0] < 0.7 and shares[1] > 0.9


def grown(design, seed, trials=30):
    """The least number of wrong choices of eight that a study of the sampler found, and its candidates."""
    space = {f"x{i}": CategoricalDistribution(["a", "b", "c", "d"]) for i in range(8)}
    study = optuna.create_study(directions=["minimize", "minimize"])
    for number in range(trials):
        study.sampler = design.sampler(seed * 1000 + number)
        trial = study.ask()
        params = {name: trial._suggest(name, distribution) for name, distribution in space.items()}
        study.tell(trial, [float(sum(choice != "a" for choice in params.values()))] * 2)
    return min(t.values[0] for t in study.trials), [t.params for t in study.trials]


def test_it_finds_a_corner_of_a_large_space_sooner_than_chance_and_repeats_nothing():
    state = torch.random.get_rng_state()
    best, params = grown(design(), 0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len({tuple(one.items()) for one in params}) == len(params)
    assert best < grown(create(Design, "random", catalog()), 0)[0]
    assert grown(design(), 0, 12)[1] == params[:12]
