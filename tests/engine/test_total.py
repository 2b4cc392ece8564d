"""The budget of a whole study: it ends in good order, says what was left undone, and goes on with more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from segments_for_tests import DATA, KNOWN
from studies_for_tests import Driver, results, search, study, trials
from test_fidelities import halved

import ablate
from ablate.candidates.candidate import compose, cost_of
from ablate.candidates.total import Total
from ablate.engine.spending import Spending
from ablate.errors import InputError
from ablate.study.load import load_study
from ablate.training.training_cost import train_gflops


def listed(total: dict[str, Any] | None, seeds: int = 2, **more: Any) -> dict[str, Any]:
    """A study of four candidates."""
    vary = {"backbone.width": [2, 4, 6, 8]}
    spec = study(vary=vary, design={"type": "grid", "seeds": seeds}, **more)
    return spec if total is None else {**spec, "total": total}


def test_it_ends_before_the_first_candidate_whose_seeds_go_beyond_and_goes_on_with_more(tmp_path: Path) -> None:
    outcome = Driver(tmp_path, listed({"trials": 5})).run()
    assert len(trials(tmp_path)) == 4 and outcome.measured == 4
    assert (
        outcome.short
        == "the study's total is used up (4 of 5 trials): 2 candidates were not tried; with more, it goes on"
    )
    more = Driver(tmp_path, listed(None)).run()
    assert more.reused == 4 and more.measured == 4 and more.short is None
    Driver(tmp_path / "whole", listed(None)).run()
    assert results(tmp_path) == results(tmp_path / "whole")


def test_training_is_counted_as_it_is_computed_and_what_has_begun_comes_to_its_end(tmp_path: Path) -> None:
    loaded = load_study(listed(None))
    each = {
        width: train_gflops(loaded.candidate({"backbone.width": width}), DATA.setting()) * 32 for width in (2, 4, 6, 8)
    }
    total = 2 * (each[2] + each[4]) + 0.5 * each[6]  # the third is begun, the fourth is not
    outcome = Driver(tmp_path, listed({"train_gflops": total})).run()
    assert {record["choices"]["backbone.width"] for record in trials(tmp_path).values()} == {2, 4, 6}
    assert len(trials(tmp_path)) == 6 and "1 candidates were not tried" in str(outcome.short)


def test_a_paused_candidate_counts_as_far_as_it_was_trained(tmp_path: Path) -> None:
    """What it was not trained on is left for others."""
    spec = halved()
    loaded = load_study(spec)
    gflops = [train_gflops(loaded.candidate(assignment), DATA.setting()) for assignment in loaded.proposals() or ()]
    base = train_gflops(loaded.study.base, DATA.setting())
    total = 128 * (base + 0.25 * (sum(gflops) - base))
    Driver(tmp_path, {**spec, "total": {"train_gflops": total * 1.0001}}).run()
    started = len(trials(tmp_path)) + len(trials(tmp_path, "paused.json"))
    Driver(tmp_path, spec).run()
    assert 1 < started < 6  # who goes on takes the place of who is not tried
    assert len(trials(tmp_path)) + len(trials(tmp_path, "paused.json")) == 6


def test_hours_are_of_work_all_trials_together() -> None:
    spending = Spending(Total(hours=1.0))
    for number, seconds in enumerate((1700, 1700)):
        spending.commit(f"{number}", 0.0)
        spending.take(f"{number}", {"seconds": seconds, "images": 8}, 0.0)
        assert spending.used_up(1) is None
    spending.take("1", {"seconds": 1900, "images": 16}, 0.0)  # the same trial, further on
    assert spending.used_up(1) == "1 of 1 hours of work" == spending.exhausted()


def test_a_search_goes_on_where_its_total_ended_it(tmp_path: Path) -> None:
    spec = search(algorithm="tpe", trials=6)
    Driver(tmp_path / "parts", {**spec, "total": {"trials": 4}}).run()
    assert len(trials(tmp_path / "parts")) == 4
    Driver(tmp_path / "parts", spec).run()
    Driver(tmp_path / "whole", spec).run()
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total": {"trials": 1}}, "total.trials: 1 are less than one candidate of 2 seeds"),
        ({"total": {"train_gflops": 1e-9}}, "do not suffice for the baseline, which takes"),
        ({"total": {"train_gflops": 1}, "budget": {"minutes": 1}}, "is not known beforehand; say total.hours"),
        ({"total": {}}, "say at least one of trials, train_gflops and hours"),
        ({"total": {"hours": -1}}, "greater than 0"),
    ],
)
def test_what_does_not_suffice_for_one_candidate_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ablate.run({**listed(None), **changes}, out=tmp_path / "out", executor="local")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "backbone", ["dit", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("uvit", "unet"))]
)
def test_a_step_of_training_is_worth_three_forward_passes_and_recomputation_a_fourth(backbone: str) -> None:
    def passes(**more: Any) -> float:
        candidate = compose({"backbone": backbone, **more}, KNOWN)
        return train_gflops(candidate, DATA.setting()) / (cost_of(candidate.backbone, DATA.setting()).macs / 1e9)

    assert 2.9 < passes() < 3
    assert 3.5 < passes(recompute=True) < 4
    assert passes(guidance="classifier") > passes()  # a second network is trained beside


def test_a_total_is_no_part_of_the_identity() -> None:
    assert load_study(listed({"trials": 4})).study.digest() == load_study(listed(None)).study.digest()
