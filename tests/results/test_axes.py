"""Fronts along what a measurement was taken with: NFE, guidance, average."""

import pytest
from results_folders import METRIC, Study, measurement

from ablate import load
from ablate.errors import InputError

NAMES = ("adaln_zero", "adaln")


@pytest.fixture
def results(tmp_path):
    """Two candidates, two seeds, measured at 50 evaluations as the study says and again at 10."""
    study = Study(tmp_path).head()
    for i, name in enumerate(NAMES):
        for seed in range(2):
            more = [measurement(METRIC, 0.9 + i + 0.1 * seed, 1000, nfe=10)]
            more.append(measurement(METRIC, 0.7 + i + 0.1 * seed, 1000, guidance="cfg(3)"))
            values = {METRIC: 0.5 + i + 0.1 * seed}
            folder = study.trial({"backbone.conditioning": name}, seed, values, gflops=1.0 + i)
            study_rows(folder, more)
    return load(tmp_path)


def study_rows(folder, rows):
    import json

    path = folder / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "metrics": [*record["metrics"], *rows]}))


def test_the_study_s_own_measurement_is_what_stands_in_the_table(results):
    table = results.front().set_index("candidate")
    assert table.loc["adaln_zero", METRIC] == pytest.approx(0.55)


def test_evaluations_are_an_axis(results):
    table = results.front(["kid", "nfe"], where={"guidance": "cfg(1.5)"})
    assert len(table) == 4
    points = {(row["candidate"], int(row["nfe"])): (row[METRIC], row["on_front"]) for _, row in table.iterrows()}
    assert points["adaln_zero", 50] == (pytest.approx(0.55), True)
    assert points["adaln_zero", 10] == (pytest.approx(0.95), True), "worse, and cheaper to sample"
    assert points["adaln", 50] == (pytest.approx(1.55), False)
    assert points["adaln", 10] == (pytest.approx(1.95), False)


def test_guidance_is_an_axis(results):
    table = results.front(["kid", "gflops"], where={"nfe": 50}, along=["guidance"])
    best = table.sort_values(METRIC).iloc[0]
    assert (best["candidate"], best["guidance"]) == ("adaln_zero", "cfg(1.5)")
    assert set(table["guidance"]) == {"cfg(1.5)", "cfg(3)"} and len(table) == 4


def test_what_is_not_asked_for_is_not_mixed(results):
    with pytest.raises(InputError, match="differ in guidance"):
        known = results._stored.metrics
        known["guidance"] = known["guidance"].astype(object)
        differ = known.copy()
        differ.loc[differ["trial"] == differ["trial"].iloc[0], "guidance"] = "cfg(7)"
        known.loc[:] = differ
        results.front(["kid", "gflops"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"along": ["nef"]}, "did you mean 'nfe'"),
        ({"along": ["value"]}, "no 'value' to go along"),
        ({"objectives": ["gflops"], "along": ["nfe"]}, "needs a metric"),
        ({"objectives": ["nfe"]}, "needs a metric"),
    ],
)
def test_an_axis_that_is_none_is_refused(results, arguments, message):
    with pytest.raises(InputError, match=message):
        results.front(**arguments)


def test_the_axes_are_drawn(results, tmp_path):
    drawn = {path.name for path in results.figures(tmp_path / "figures")}
    assert {"axes.png", "axes.svg"} <= drawn


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"nfe": 4}, "no measurement of kid_efficientnet_lite0 has nfe 4; there is 10, 50"),
        ({"nfee": 10}, "did you mean 'nfe'"),
        ({"nfe": [10, 50]}, r"for several: along=\['nfe'\]"),
        ("nfe=10", "expected a mapping"),
    ],
)
def test_a_restriction_that_nothing_meets_says_what_there_is(results, where, message):
    for ask in (results.front, results.effects):
        with pytest.raises(InputError, match=message):
            ask(where=where)


def test_what_is_computed_once_is_handed_out_anew(results):
    first = results.front()
    copy = first.copy()
    first.loc[:, METRIC] = 0.0
    first.attrs.clear()
    assert results.front().equals(copy) and results.front().attrs == copy.attrs
