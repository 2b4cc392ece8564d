"""What stands under a table where its candidates were not treated alike, or are fewer than were asked for."""

from __future__ import annotations

import json

import pytest
from results_folders import METRIC, Study

import ablate
from ablate.cli.status import status_of
from ablate.discovery.provenance import SCHEME
from ablate.errors import InputError
from ablate.results.verdict import verdict


@pytest.mark.parametrize(("budget", "warned"), [({"minutes": 8}, True), ({"images": 75_648}, False)])
def test_a_budget_of_time_says_that_candidates_saw_different_numbers_of_images(
    study: Study, budget: dict[str, float], warned: bool
) -> None:
    study.head(lock={"spec": {"budget": budget}}, vary={"width": [32, 64]})
    for width, images in ((32, 75_648), (64, 31_456)):
        study.trial({"width": width}, 0, {METRIC: 0.05}, images=images if warned else 75_648)
    summary = ablate.load(study.path).summary(plain=True)
    assert ("warning: the budget was 8 minutes" in summary and "from 31,456 to 75,648 images" in summary) == warned


def test_a_search_that_found_fewer_says_so_and_status_counts_the_same(study: Study) -> None:
    design = {"type": "search", "trials": 60}
    study.head(lock={"spec": {"design": design}, "choices": {"width": [32, 64]}, "ranges": {}}, vary={"width": [32]})
    for width in (32, 64):
        study.trial({"width": width}, 0, {METRIC: 0.05})
    assert status_of(ablate.load(study.path))["planned"] == 60  # it is cut short
    short = "the search found 2 different candidates, not 60: there are no more in what `vary` spans"
    (study.path / "ended.json").write_text(json.dumps({"schema": 1, "trials": 2, "short": short}))
    results = ablate.load(study.path)
    assert status_of(results)["planned"] == 2 and short in results.summary(plain=True)
    study.head(lock={"spec": {"design": "of_a_plugin"}, "choices": {"width": [32, 64]}}, vary={"width": [32]})
    assert status_of(ablate.load(study.path))["planned"] == 2  # a study that is whole needs no design to say so


@pytest.mark.parametrize(("error", "bias"), [(2.23, "223.0 % too wide"), (-0.05, "5.0 % too narrow"), (0.01, None)])
def test_a_biased_solver_is_told_under_the_table_too(study: Study, error: float, bias: str | None) -> None:
    """Who reads only the results has not seen what `plan` and `run` warned of."""
    study.head(vary={"width": [32, 64]}, lock={"baseline": {"width": 32}})
    for width in (32, 64):
        study.trial({"width": width}, 0, {METRIC: 0.05}, identity={"solver_error": error})
    summary = ablate.load(study.path).summary(plain=True)
    assert ("makes Gaussian samples" in summary) == (bias is not None)
    assert bias is None or f"samples {bias} by itself, so part of every metric of width=32, width=64 is" in summary


def two_origins(study: Study, first: dict[str, object], second: dict[str, object]) -> ablate.Results:
    """Two candidates with two seeds each; the last trial is the other."""
    study.head(vary={"width": [32, 64]}, lock={"baseline": {"width": 32}})
    for number, (width, seed) in enumerate([(32, 0), (32, 1), (64, 0), (64, 1)]):
        own = {"hashes": SCHEME, **(second if number == 3 else first)}
        study.trial({"width": width}, seed, {METRIC: 0.05 + 0.01 * number}, **own)
    return ablate.load(study.path)


def test_trials_of_two_sources_of_a_component_are_not_compared(study: Study) -> None:
    name, other = "weighting/mine", {"ablate": "a" * 64}
    results = two_origins(study, {"sources": {name: "b" * 64, **other}}, {"sources": {name: "c" * 64, **other}})
    for ask in (results.front, results.effects, results.scaling):
        with pytest.raises(InputError, match=f"differ in the source of {name} .b{{12}}: 3 trials .*; c{{12}}: 1 trial"):
            ask()
    warning = f"trials of 2 states of the source of {name} stand in one table"
    assert warning in results.summary(plain=True) and "No verdict: trials differ in the source" in verdict(results)
    assert len(results.front(["params", "gflops"])) == 2, "what a network costs is not measured with it"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"versions": {"ablate": "0.1.0"}}, {"versions": {"ablate": "0.2.0"}}, "trials of 2 versions of ablate stand"),
        ({"sources": {"ablate": "a" * 64}}, {"sources": {"ablate": "b" * 64}}, "2 states of ablate's own source stand"),
        ({"sources": {"ablate": "a" * 64}}, {"sources": {"ablate": "b" * 64}, "hashes": "otherwise"}, ""),
        ({"sources": {"ablate": "a" * 64}}, {"sources": {"ablate": "a" * 64}}, ""),
    ],
)
def test_trials_of_two_ablates_are_always_told_where_they_are_compared(
    study: Study, first: dict[str, object], second: dict[str, object], message: str
) -> None:
    results = two_origins(study, first, second)
    assert len(results.front()) == 2
    for text in (results.summary(plain=True), verdict(results)):
        assert message in text.lower() if message else "stand in one table" not in text
