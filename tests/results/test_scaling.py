"""How quality follows Gflops over sizes."""

import math

import numpy as np
import pandas as pd
import pytest
from results_folders import METRIC, Study

from ablate import load
from ablate.errors import InputError
from ablate.results.robustlaw import bootstrap
from ablate.results.scaling import literature, scaling


def points(cost, quality):
    return scaling(pd.Series(map(str, cost), dtype=object), pd.Series(cost), pd.Series(quality))


def test_the_published_sizes_of_dit_correlate_as_they_are_known_to():
    fit = literature()
    assert fit.n == 12
    assert fit.correlation == pytest.approx(-0.930, abs=5e-4)
    assert fit.p < 1e-4
    z, half = math.atanh(fit.correlation), 1.959964 / math.sqrt(12 - 3)  # Fisher's interval
    assert [fit.correlation_low, fit.correlation_high] == pytest.approx([math.tanh(z - half), math.tanh(z + half)])
    assert "-0.930 (-0.98 to -0.76) over 12 points" in str(fit)
    others = fit.leave_one_out
    assert len(others) == 12 and others["exponent"].between(-0.9, -0.05).all()
    assert f"without one of the sizes {others['exponent'].min():.3g} to {others['exponent'].max():.3g}" in str(fit)
    low, high = fit.bootstrap
    assert low < fit.robust.exponent < high


def test_one_size_that_went_wrong_pulls_no_robust_law_away():
    rng = np.random.default_rng(0)
    cost = np.geomspace(0.1, 100, 14)
    quality = (3 * cost**-0.5 + 0.2) * np.exp(0.01 * rng.normal(size=14))
    clean = points(cost, quality)
    assert clean.robust.exponent == pytest.approx(clean.exponent, abs=0.02)
    quality[6] *= 1.8
    spoilt = points(cost, quality)
    assert abs(spoilt.robust.exponent + 0.5) < 0.03 < abs(spoilt.exponent + 0.5)
    without = spoilt.leave_one_out.iloc[6]
    assert without["exponent"] == pytest.approx(-0.5, abs=0.03) and without["error"] == pytest.approx(
        1 / 1.8 - 1, abs=0.03
    )


@pytest.mark.thorough
def test_the_bootstrap_holds_the_exponent_about_as_often_as_it_says():
    rng, held = np.random.default_rng(1), 0
    cost = np.geomspace(0.1, 30, 12)
    for i in range(14):
        low, high = bootstrap(cost, (3 * cost**-0.5 + 1.0) * np.exp(0.03 * rng.normal(size=12)), 60, i)
        held += low <= -0.5 <= high
    assert held >= 12


def test_a_power_law_is_found_again():
    cost = np.array([0.1, 0.3, 1.0, 4.0, 20.0])
    fit = points(cost, 7 * cost**-0.35)
    assert fit.exponent == pytest.approx(-0.35)
    assert fit.factor == pytest.approx(7)
    assert fit.high - fit.low < 1e-6
    assert fit.correlation == pytest.approx(np.corrcoef(np.log(cost), 7 * cost**-0.35)[0, 1])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_the_interval_holds_the_exponent_as_often_as_it_says(share):
    """Truth: cost^−0.5 above a floor that is such a share of what the smallest network reaches."""
    rng, covered, bounded = np.random.default_rng(0), 0, 0
    cost = np.geomspace(0.1, 30, 8)
    law = 3 * (cost**-0.5 + share * cost[0] ** -0.5)
    for _ in range(40):
        fit = points(cost, law * np.exp(0.1 * rng.normal(size=8)))
        covered += fit.low <= -0.5 <= fit.high
        bounded += math.isfinite(fit.low)
    assert covered >= 36, "of 40: one that holds in 95 % of cases holds in fewer than 36 with 5 % chance"
    assert bounded >= 30, "an interval that says nothing holds always"


def test_a_floor_is_told_where_the_points_show_one():
    cost = np.geomspace(0.1, 30, 10)
    fit = points(cost, 2 * cost**-0.8 + 0.5)
    assert fit.exponent == pytest.approx(-0.8, abs=1e-3) and fit.floor == pytest.approx(0.5, rel=1e-3)
    assert fit.floor_told and fit.law(cost) == pytest.approx(2 * cost**-0.8 + 0.5, rel=1e-3)
    assert "above a floor of 0.5" in str(fit) and "cannot tell" not in str(fit)
    few = points([1.0, 2.0, 4.0, 8.0], [3.0, 2.2, 1.4, 1.3])
    assert "cannot tell from none" in str(few)
    assert few.high - few.low > 1, "four scattered points bound no exponent"


def test_values_that_are_not_positive_have_no_power_law():
    fit = points([1.0, 2.0, 4.0, 8.0], [0.5, 0.2, 0.01, -0.001])
    assert math.isnan(fit.exponent) and fit.correlation < 0
    assert "exponent" not in str(fit)


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


def sized(study, choices, gflops, params, quality=1.0):
    for seed in range(2):
        study.trial(choices, seed, {METRIC: quality + 0.01 * seed}, gflops=gflops, params=params)


SPEC = '{{"depth": {depth}, "type": "{type}"}}'
MIXED = {
    "a schedule beside the size": [{"backbone.width": 2**i, "schedule": "ab"[i % 2]} for i in range(4)],
    "two families": [{"backbone": SPEC.format(type=t, depth=i)} for i, t in enumerate(("dit", "dit", "unet", "dit"))],
    "a block of another kind": [{"backbone.width": 2**i, "backbone.gate": "ab"[i % 2]} for i in range(4)],
}


@pytest.mark.parametrize("mixed", MIXED)
def test_no_law_of_size_goes_through_what_differs_in_more(tmp_path, mixed):
    study = Study(tmp_path).head(lock={"baseline": {}})
    for i, choices in enumerate(MIXED[mixed]):
        sized(study, choices, 2.0**i, 1000 + i, 1 / (i + 1))
    results = load(tmp_path)
    with pytest.raises(InputError, match=r"the size of one network alone: .* varies too"):
        results.scaling()
    assert "exponent" not in results.summary(plain=True)


def test_sizes_of_one_family_are_sizes(tmp_path):
    study = Study(tmp_path).head(lock={"baseline": {}})
    for depth in (2, 4, 8, 16, 32):
        sized(study, {"backbone": SPEC.format(type="dit", depth=depth)}, float(depth), depth, 1 / depth)
    assert load(tmp_path).scaling().n == 5
    study.trial({"backbone": SPEC.format(type="dit", depth=4), "backbone.dropout": 0.1}, 0, {METRIC: 1.0}, gflops=4.0)
    with pytest.raises(InputError, match="varies too"):
        load(tmp_path).scaling()


def test_what_varies_without_a_change_of_cost_is_no_size(tmp_path):
    study = Study(tmp_path).head(lock={"baseline": {}})
    for i, (width, drop) in enumerate(((8, 0.0), (16, 0.0), (32, 0.0), (64, 0.0), (8, 0.2))):
        sized(study, {"backbone.width": width, "backbone.dropout": drop}, float(width), width, 1 / (i + 1))
    with pytest.raises(InputError, match="are of one size"):
        load(tmp_path).scaling()
