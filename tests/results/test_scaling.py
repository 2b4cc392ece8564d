"""How quality follows Gflops over sizes."""

import math

import numpy as np
import pandas as pd
import pytest
from results_folders import METRIC, Study

from ablate import load
from ablate.errors import InputError
from ablate.results.scaling import literature, scaling


def points(cost, quality):
    return scaling(pd.Series(map(str, cost), dtype=object), pd.Series(cost), pd.Series(quality))


def test_the_published_sizes_of_dit_correlate_as_they_are_known_to():
    found = literature()
    assert found.n == 12
    assert found.correlation == pytest.approx(-0.930, abs=5e-4)
    assert found.p < 1e-4


def test_a_power_law_is_found_again():
    cost = np.array([0.1, 0.3, 1.0, 4.0, 20.0])
    found = points(cost, 7 * cost**-0.35)
    assert found.exponent == pytest.approx(-0.35)
    assert found.factor == pytest.approx(7)
    assert found.high - found.low < 1e-6
    assert found.correlation == pytest.approx(np.corrcoef(np.log(cost), 7 * cost**-0.35)[0, 1])


def test_the_interval_holds_the_exponent_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    cost = np.geomspace(0.1, 30, 8)
    for _ in range(400):
        found = points(cost, 3 * cost**-0.5 * np.exp(0.3 * rng.normal(size=8)))
        held += found.low <= -0.5 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_values_that_are_not_positive_have_no_power_law():
    found = points([1.0, 2.0, 4.0, 8.0], [0.5, 0.2, 0.01, -0.001])
    assert math.isnan(found.exponent) and found.correlation < 0
    assert "exponent" not in str(found)


@pytest.mark.parametrize(
    ("cost", "quality"),
    [
        ([1.0, 2.0, 4.0], [3.0, 2.0, 1.0]),
        ([1.0, 1.1, 1.2, 1.3], [4.0, 3.0, 2.0, 1.0]),
        ([1.0, 2.0, 4.0, 8.0], [3.0, 2.0, 1.0, math.nan]),
    ],
)
def test_too_few_sizes_are_refused(cost, quality):
    with pytest.raises(InputError, match="at least 4 candidates"):
        points(cost, quality)


def test_a_study_of_sizes_shows_it(tmp_path):
    study = Study(tmp_path).head()
    for i, width in enumerate((96, 192, 288, 384, 768)):
        for seed in range(2):
            quality = 3 * (width / 96) ** -1.0 + 0.01 * seed
            study.trial({"backbone.width": width}, seed, {METRIC: quality}, gflops=0.01 * (width / 96) ** 2, params=i)
    results = load(tmp_path)
    assert results.scaling().exponent == pytest.approx(-0.5, abs=0.02)
    drawn = {path.name for path in results.figures(tmp_path / "figures")}
    assert {"scaling.png", "scaling.svg"} <= drawn
    with pytest.raises(InputError, match="no metric, cost or probe"):
        results.scaling("fidd")
