"""A candidate has one name: in the lines and the picture of a run, in plan, table and messages, at any time."""

import re

import pytest

from ablate.candidates.names import Names
from ablate.results import load
from ablate.study.launch import launch
from ablate.study.load import load_study
from ablate.study.plan import plan

BASE = {
    "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2},
    "solver": {"type": "ddim", "steps": 2},
    "guidance": "none",
    "batch": 8,
}
CHOICES = {"target": ["epsilon", "v"], "optimizer.lr": [0.001, 0.002]}


def study(design, **more):
    return {
        "study": "named", "data": "digits", "base": BASE, "vary": CHOICES, "design": design, "budget": {"steps": 1},
        "evaluate": {"previews": 0}, "objectives": ["loss", "train_seconds", "images"], **more,
    }  # fmt: skip


@pytest.mark.parametrize("design", ["one_factor", {"type": "search", "trials": 2}])
def test_a_run_and_its_table_call_a_candidate_the_same(tmp_path, design):
    seen, lines = set(), []

    def watch(progress):
        seen.update(one.label for one in progress.running)
        lines.extend(progress.lines)

    launched = launch(
        study(design), out=tmp_path / "out", executor="local", figures=False, workers=1, device="cpu", watch=watch
    )
    results = load(launched.folder)
    labels = {candidate.label for candidate in results.candidates}
    assert seen <= labels  # a quick trial may end between two looks
    assert {line.split(", seed ")[0] for line in lines if re.search(r", seed \d+: loss", line)} == labels
    front = results.front()
    assert set(front["candidate"]) == labels
    assert front.attrs["objectives"] == ["loss", "train_seconds", "images"]  # the same to the study and to a front
    if design == "one_factor":
        assert labels == {"baseline", "target=v", "lr=0.002"} == set(plan(load_study(study(design)))["candidate"])


def test_what_is_there_so_far_gives_no_other_name(tmp_path):
    loaded = load_study(study("grid"))
    whole = [loaded.names(choices) for choices in loaded.proposals()]
    assert sorted(whole) == ["epsilon/lr=0.001", "epsilon/lr=0.002", "v/lr=0.001", "v/lr=0.002"]
    read = Names.read({"names": loaded.names.to_json(), "baseline": dict(loaded.baseline)})
    assert [read(choices) for choices in loaded.proposals()] == whole
    searched = load_study(study({"type": "search", "trials": 2}))
    assert [searched.names(choices) for choices in loaded.proposals()] == whole


def test_a_study_says_how_evaluations_are_judged():
    from ablate.errors import InputError

    with pytest.raises(InputError, match="sample_gflops"):
        load_study({**study("grid"), "objectives": ["loss", "nfe"]})
