"""Names that tell candidates apart, and which one is meant."""

from __future__ import annotations

from typing import Any

import pytest
from results_folders import METRIC, Study

from ablate.candidates.names import show
from ablate.errors import InputError
from ablate.results import load
from ablate.results.candidates import find


def labels(
    study: Study, choices: list[dict[str, Any]], baseline: dict[str, Any] | None = None, **vary: Any
) -> list[str]:
    study.head(lock={"baseline": baseline or {}}, vary=vary)
    for of in choices:
        study.trial(of, 0, {METRIC: 0.1})
    return [c.label for c in load(study.path).candidates]


def test_one_path_is_named_by_its_label(study: Study) -> None:
    names = labels(study, [{"schedule": "cosine"}, {"schedule": "linear"}], {"schedule": "linear"})
    assert names == ["linear", "cosine"]


def test_numbers_carry_their_field(study: Study) -> None:
    names = labels(study, [{"backbone.patch": 4}, {"backbone.patch": 2}, {"backbone.patch": 16}])
    assert names == ["patch=2", "patch=4", "patch=16"]


def test_one_factor_names_what_was_changed(study: Study) -> None:
    base = {"schedule": "linear", "optimizer.lr": 0.001}
    names = labels(study, [base, {**base, "schedule": "cosine"}, {**base, "optimizer.lr": 0.003}], base)
    assert sorted(names) == ["baseline", "lr=0.003", "schedule=cosine"]
    assert names[0] == "baseline"


def test_partial_choices_stay_as_in_the_base(study: Study) -> None:
    names = labels(study, [{}, {"schedule": "cosine"}, {"target": "v"}], {"schedule": "linear", "target": "epsilon"})
    assert sorted(names) == ["baseline", "schedule=cosine", "target=v"]


def test_grids_join_and_equal_leaves_are_told_apart(study: Study) -> None:
    grid = [{"a.steps": i, "b.steps": j, "schedule": s} for i in (1, 2) for j in (1, 2) for s in ("cosine", "linear")]
    names = labels(study, grid)
    assert len(set(names)) == 8
    assert "a.steps=1/b.steps=2/cosine" in names


def test_order_follows_the_study(study: Study) -> None:
    vary = {"schedule": ["sigmoid", "linear", "cosine"]}
    assert labels(study, [{"schedule": s} for s in ("cosine", "linear", "sigmoid")], **vary) == vary["schedule"]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ('{"type": "cfg", "scale": 1.5}', "cfg(scale=1.5)"),
        ('{"type": "none"}', "none"),
        ("{broken", "{broken"),
        (True, "true"),
        (2.0, "2"),
        (1e-4, "0.0001"),
        (None, "none"),
    ],
)
def test_labels_as_text(label: Any, text: str) -> None:
    assert show(label) == text


def test_no_such_path_is_not_the_label_none(study: Study) -> None:
    names = labels(study, [{"guidance": "none", "f": "a"}, {"f": "a"}], {"guidance": "none", "f": "a"})
    (base,) = [c for c in load(study.path).candidates if c.baseline]
    assert base.choices["guidance"] == "none"
    assert len(set(names)) == 2


def test_what_means_several_is_refused(study: Study) -> None:
    labels(study, [{"a": "x", "b": "u"}, {"a": "x", "b": "v"}])
    candidates = load(study.path).candidates
    assert find(candidates, {"a": "x", "b": "v"}).choices["b"] == "v"
    with pytest.raises(InputError, match="means 2 candidates"):
        find(candidates, {"a": "x"})
