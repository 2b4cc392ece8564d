"""The front against brute force, and what may stand on one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from results_folders import METRIC, Study

from ablate.candidates.objectives import Objective
from ablate.errors import InputError
from ablate.results import load
from ablate.results.front import hypervolume, nondominated

points = st.tuples(st.integers(0, 12), st.integers(1, 3)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(-4, 4).map(float))
)


@given(points)
@settings(deadline=None)
def test_nondominated_is_brute_force(x: np.ndarray) -> None:
    dominated = [any((b <= a).all() and (b < a).any() for b in x) for a in x]
    assert list(nondominated(x)) == [not d for d in dominated]


@given(arrays(float, st.tuples(st.integers(1, 8), st.just(2)), elements=st.integers(0, 6).map(float)))
@settings(deadline=None)
def test_hypervolume_counts_the_dominated_cells(x: np.ndarray) -> None:
    cells = [(i, j) for i in range(7) for j in range(7)]  # unit cells below the reference (7, 7)
    covered = sum(any(a <= i and b <= j for a, b in x) for i, j in cells)
    assert hypervolume(x, np.array([7.0, 7.0])) == pytest.approx(covered)


def fill(study: Study, values: dict[str, list[float | None]], gflops: dict[str, float], **identity: object) -> None:
    for name, of in values.items():
        for seed, value in enumerate(of):
            study.trial({"backbone.conditioning": name}, seed, {METRIC: value}, gflops=gflops[name], identity=identity)


def test_means_deviations_and_the_front(study: Study) -> None:
    study.head()
    values = {"adaln_zero": [1.0, 3.0], "adaln": [3.0, 3.0], "in_context": [5.0, 7.0], "cross": [2.0, None]}
    fill(study, values, {"adaln_zero": 2, "adaln": 1, "in_context": 2, "cross": 4})
    front = load(study.path).front()
    by = front.set_index("candidate")
    assert dict(by[METRIC]) == {"adaln_zero": 2.0, "adaln": 3.0, "in_context": 6.0, "cross": 2.0}
    assert by.loc["adaln_zero", f"{METRIC}.sd"] == pytest.approx(2**0.5)
    assert np.isnan(by.loc["cross", f"{METRIC}.sd"])
    assert dict(by["n"]) == {"adaln_zero": 2, "adaln": 2, "in_context": 2, "cross": 1}
    assert set(front[front["on_front"]]["candidate"]) == {"adaln_zero", "adaln"}
    assert list(front["on_front"]) == [True, True, False, False]
    # a tenth of the front's own ranges (1 and 1) beyond its ends
    assert front.attrs["reference_point"] == pytest.approx({METRIC: 3.1, "gflops": 2.1})
    assert front.attrs["hypervolume"] == pytest.approx((3.1 - 2) * (2.1 - 2) + (3.1 - 3) * (2 - 1))


def test_a_choice_that_one_candidate_has_stands_with_the_choices(study: Study) -> None:
    study.head()
    study.trial({"backbone": "dit"}, 0, {METRIC: 1.0}, gflops=1)
    study.trial({"backbone": "unet", "backbone.fusion": "concat"}, 0, {METRIC: 2.0}, gflops=2)
    front = load(study.path).front()
    assert list(front.columns[:5]) == ["candidate", "config_hash", "c.backbone", "c.backbone.fusion", METRIC]
    assert list(front["c.backbone.fusion"].fillna("")) == ["", "concat"]


def test_a_hypervolume_counts_up_to_the_point_that_is_given(study: Study) -> None:
    study.head()
    fill(study, {"adaln_zero": [2.0], "adaln": [3.0]}, {"adaln_zero": 2, "adaln": 1})
    alone = load(study.path).front()
    fill(study, {"in_context": [90.0]}, {"in_context": 40})
    results = load(study.path)
    assert results.front().attrs["hypervolume"] == alone.attrs["hypervolume"], "what the front beats moves it"
    attrs = results.front(reference={"kid": 10, "gflops": 3}).attrs
    assert attrs["reference_point"] == {METRIC: 10, "gflops": 3}
    assert attrs["hypervolume"] == pytest.approx((10 - 2) * (3 - 2) + (10 - 3) * (2 - 1))
    assert "(hypervolume" not in results.summary(plain=True), "it would be compared where it cannot be"
    with pytest.raises(InputError, match="a number for each of"):
        results.front(reference={"kid": 10})


def test_equal_candidates_stay_together(study: Study) -> None:
    study.head()
    fill(study, {"adaln": [1.0], "adaln_zero": [1.0]}, {"adaln": 1, "adaln_zero": 1})
    assert load(study.path).front()["on_front"].all()


def test_every_name_of_an_objective(conditioning: Study) -> None:
    results = load(conditioning.path)
    for name in ("kid", METRIC, f"m.{METRIC}"):
        assert results.front([name, "params"]).attrs["objectives"] == [METRIC, "params"]
    with pytest.raises(InputError, match="did you mean 'kid'"):
        results.front(["kidd"])
    with pytest.raises(InputError, match="at least one"):
        results.front([])


def test_training_is_a_cost_of_every_trial(study: Study) -> None:
    study.head()
    fill(study, {"adaln_zero": [1.0, 1.0], "adaln": [2.0, 2.0]}, {"adaln_zero": 4.0, "adaln": 2.0})
    results = load(study.path)
    trials = results.trials
    assert (trials["train_gflops"] == 3 * trials["gflops"] * trials["images"]).all()
    front = results.front(["kid", "train_gflops"])
    assert front["on_front"].all()  # the dearer one is the better one
    objective = Objective("train_gflops", "train_gflops")
    assert objective.is_cost and objective.value({"gflops": 2.0, "images": 5}) == 30.0
    assert objective.value({"gflops": 2.0, "train_pass_gflops": 4.0, "images": 5}) == 60.0
    assert objective.value({"gflops": None, "images": 5}) is None


def test_larger_is_better(study: Study) -> None:
    study.head(lock={"larger_is_better": ["kid"]})
    fill(study, {"adaln": [1.0], "adaln_zero": [2.0]}, {"adaln": 1, "adaln_zero": 1})
    front = load(study.path).front()
    assert list(front["candidate"]) == ["adaln_zero", "adaln"]
    assert list(front["on_front"]) == [True, False]
    assert front.attrs["reference_point"][METRIC] == pytest.approx(1.8)


def test_diverged_and_failed_are_counted_and_never_on_the_front(study: Study) -> None:
    study.head()
    study.trial({"backbone.conditioning": "adaln_zero"}, 0, {METRIC: 1.0}, gflops=3.0)
    study.trial({"backbone.conditioning": "adaln"}, 0, {METRIC: 0.0}, state="diverged", gflops=1.0)
    study.trial({"backbone.conditioning": "adaln"}, 1, state="failed", gflops=1.0)
    by = load(study.path).front().set_index("candidate")
    assert by.loc["adaln", ["n", "diverged", "failed"]].tolist() == [0, 1, 1]
    assert not by.loc["adaln", "on_front"]
    assert by.loc["adaln", "gflops"] == 1.0


def test_a_constraint_on_values_taken_differently_is_told_and_no_end(study: Study) -> None:
    study.head(lock={"constraints": {"kid": {"at_most": 1.5}}})
    fill(study, {"adaln_zero": [1.0, 2.0]}, {"adaln_zero": 1})
    fill(study, {"adaln": [1.0]}, {"adaln": 1}, samples=50)
    assert load(study.path).summary(plain=True).count("warning: the values of") == 1


def test_losing_its_worst_seed_helps_no_candidate(study: Study) -> None:
    """`adaln` is `adaln_zero` but for a seed that diverged: its mean over the others is better, its place is not."""
    study.head()
    fill(study, {"adaln_zero": [1.0, 1.1, 2.0], "cross": [3.0, 3.0, 3.0]}, {"adaln_zero": 1, "cross": 1})
    fill(study, {"adaln": [1.0, 1.1]}, {"adaln": 1})
    study.trial({"backbone.conditioning": "adaln"}, 2, {METRIC: 1e9}, state="diverged", gflops=1)
    study.trial({"backbone.conditioning": "lost"}, 0, state="diverged", gflops=1)
    results = load(study.path)
    front = results.front()
    assert list(front["candidate"]) == ["adaln_zero", "cross", "adaln", "lost"]
    assert list(front["on_front"]) == [True, False, False, False]
    assert front[METRIC].tolist()[2] == pytest.approx(1.05), "the mean over what was completed is shown"
    table = results.summary(plain=True)
    assert [line.split()[0] for line in table.splitlines()[2:6]] == ["adaln_zero", "cross", "adaln", "lost"]
    assert "adaln_zero, the baseline, has the best" in table
    effects = results.effects()
    assert list(effects["candidate"]) == ["cross", "adaln", "lost"]
    assert "1 diverged of 3 seeds" in effects["note"][1] and "by ranks, diverged runs last" in effects["note"][1]


def test_where_every_candidate_lost_a_seed_the_others_decide(study: Study) -> None:
    study.head()
    for name, value in (("adaln_zero", 1.0), ("adaln", 2.0)):
        study.trial({"backbone.conditioning": name}, 0, {METRIC: value})
        study.trial({"backbone.conditioning": name}, 1, state="diverged")
    results = load(study.path)
    assert results.front().set_index("candidate")["on_front"].to_dict() == {"adaln_zero": True, "adaln": False}
    assert "as of every candidate a seed diverged" in results.summary(plain=True)


def test_a_baseline_that_diverged_says_how_else_to_compare(study: Study) -> None:
    study.head()
    fill(study, {"adaln": [1.0, 1.1], "cross": [2.0, 2.1]}, {"adaln": 1, "cross": 1})
    for seed in range(2):
        study.trial({"backbone.conditioning": "adaln_zero"}, seed, state="diverged")
    results = load(study.path)
    summary = results.summary(plain=True)
    assert "Every seed of the baseline diverged" in summary and 'effects(baseline="adaln")' in summary
    assert results.effects(baseline="adaln").set_index("candidate").loc["cross", "n"] == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", 500),
        ("reference_hash", "b" * 64),
        ("features_hash", "b" * 64),
        ("solver", "heun"),
        ("nfe", 20),
        ("ema", "none"),
        ("guidance", "none"),
        ("quantisation", "floor"),
    ],
)
def test_values_that_were_taken_differently_never_mix(study: Study, field: str, value: object) -> None:
    study.head()
    fill(study, {"adaln_zero": [1.0, 2.0]}, {"adaln_zero": 1})
    fill(study, {"adaln": [1.0]}, {"adaln": 1}, **{field: value})
    results = load(study.path)
    for ask in (results.front, results.effects):
        with pytest.raises(InputError, match=f"differ in {field}.*ablate evaluate DIR.*where="):
            ask()
    if field == "samples":  # nor between the points of one front
        fill(study, {"adaln": [1.0]}, {"adaln": 1}, guidance="cfg(3)", samples=500)
        for along in (["guidance"], ["guidance", "samples"], ["samples"]):
            with pytest.raises(InputError, match=r"differ in samples.*ablate evaluate DIR.*where="):
                load(study.path).front(["kid", "gflops"], along=along)
        fill(study, {"adaln": [1.0]}, {"adaln": 1}, **{field: value})
        results = load(study.path)
    front = results.front(where={field: value}).set_index("candidate")
    assert front.loc["adaln", "n"] == 1
    assert front.loc["adaln_zero", "n"] == 0
    assert "differ in" in results.summary(plain=True)


def test_what_the_study_varies_may_differ_and_is_said(study: Study) -> None:
    study.head(lock={"baseline": {"sampling.solver": "ddim"}})
    for name, nfe in (("ddim", 50), ("heun", 99)):
        for seed in range(2):
            study.trial({"sampling.solver": name}, seed, {METRIC: nfe / 100}, identity={"solver": name, "nfe": nfe})
    front = load(study.path).front()
    assert front["on_front"].sum() == 1
    assert "solver and nfe" in front.attrs["note"]
    study.trial({"sampling.solver": "heun"}, 2, {METRIC: 0.4}, identity={"solver": "heun", "nfe": 33})
    with pytest.raises(InputError, match="differ in nfe"):  # one choice, measured in two ways
        load(study.path).front()


def test_the_last_measurement_counts(study: Study) -> None:
    study.head()
    folder = study.trial({"backbone.conditioning": "adaln"}, 0, {METRIC: 0.5})
    import json

    record = json.loads((folder / "record.json").read_text())
    last = record["metrics"][0]
    record["metrics"] = [{**last, "images": 100_000, "value": 0.9}, last, {**last, "ema": "long", "value": 0.1}]
    (folder / "record.json").write_text(json.dumps(record))
    results = load(study.path)
    assert results.trials[f"m.{METRIC}"].tolist() == [0.5]
    assert results.front()[METRIC].tolist() == [0.5]
    assert results.front(where={"ema": "long"})[METRIC].tolist() == [0.1]
    with pytest.raises(InputError, match="did you mean 'ema'"):
        results.front(where={"emaa": "long"})


def test_a_table_of_trials_on_different_data_shows_their_costs_and_says_why_no_more(study: Study) -> None:
    study.head()
    for name, data in (("adaln_zero", "a"), ("adaln", "b")):
        study.trial({"backbone.conditioning": name}, 0, {METRIC: 1.0}, data_hash=data * 64)
    summary = load(study.path).summary(plain=True)
    assert "trained on different data" in summary and "1.2 M" in summary
