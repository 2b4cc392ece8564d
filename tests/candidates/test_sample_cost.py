"""What a sample costs: evaluations and guidance count, and a front along them can be of that cost."""

from typing import Any

import pytest

from ablate.candidates.candidate import compose
from ablate.candidates.sample_cost import sample_gflops
from ablate.discovery.catalog import catalog
from ablate.spec.component import InputSpec


def cost(guidance: Any, **solver: Any) -> float:
    spec = {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 1}, "target": "v"}
    spec |= {"schedule": "cosine", "guidance": guidance, "solver": {"steps": 10, **solver}}
    gflops = sample_gflops(compose(spec, catalog()), InputSpec((1, 16, 16), 10), 1.0)
    assert gflops is not None
    return gflops


def test_guidance_and_evaluations_are_not_free():
    assert cost("none") == 10
    assert cost("none", type="heun") == 19
    assert cost("cfg") == 20, "two images a call"
    assert 10 < cost({"type": "cfg", "sigma_high": 2.0}) < 20, "outside its interval it saves the second"
    assert 10 < cost("classifier") < 11, "a small network beside it, and its gradient"


def test_nothing_is_said_where_the_network_cannot_be_counted():
    candidate = compose({"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 1}}, catalog())
    assert sample_gflops(candidate, InputSpec((1, 16, 16), None), None) is None


@pytest.mark.parametrize("name", ["cfg", "none"])
def test_it_is_the_mean_over_the_solvers_own_levels(name):
    assert cost(name, steps=25) == (50 if name == "cfg" else 25)
