"""What stands under a table where its candidates were not treated alike, or are fewer than were asked for."""

from __future__ import annotations

import json

import pytest
from results_folders import METRIC, Study

import ablate
from ablate.cli.status import standing


@pytest.mark.parametrize(("budget", "told"), [({"minutes": 8}, True), ({"images": 75_648}, False)])
def test_a_budget_of_time_says_that_candidates_saw_different_numbers_of_images(
    study: Study, budget: dict[str, float], told: bool
) -> None:
    study.head(lock={"spec": {"budget": budget}}, vary={"width": [32, 64]})
    for width, images in ((32, 75_648), (64, 31_456)):
        study.trial({"width": width}, 0, {METRIC: 0.05}, images=images if told else 75_648)
    said = ablate.load(study.path).summary(plain=True)
    assert ("warning: the budget was 8 minutes" in said and "from 31,456 to 75,648 images" in said) == told


def test_a_search_that_found_fewer_says_so_and_status_counts_the_same(study: Study) -> None:
    design = {"type": "search", "trials": 60}
    study.head(lock={"spec": {"design": design}, "choices": {"width": [32, 64]}, "ranges": {}}, vary={"width": [32]})
    for width in (32, 64):
        study.trial({"width": width}, 0, {METRIC: 0.05})
    assert standing(ablate.load(study.path))["planned"] == 60  # it is cut short
    short = "the search found 2 different candidates, not 60: there are no more in what `vary` spans"
    (study.path / "ended.json").write_text(json.dumps({"schema": 1, "trials": 2, "short": short}))
    results = ablate.load(study.path)
    assert standing(results)["planned"] == 2 and short in results.summary(plain=True)
