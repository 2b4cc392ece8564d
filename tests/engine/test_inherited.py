"""Searches whose children begin with their parents' weights: identity, lineage, resume, and what goes together."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commits_for_tests import Killed, killed_at
from lineage_for_tests import assert_lineage
from studies_for_tests import Driver, changed, ledger, marks, results, trials

import ablate
from ablate.errors import InputError
from ablate.kinds.start import parent_of
from ablate.study.load import load_study

ALL = 7
STUDY: dict[str, Any] = {
    "study": "inherits",
    "data": "digits",
    "base": {
        "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 8, "heads": 2},
        "optimizer": {"type": "adam", "lr": 0.01},
        "batch": 8,
    },
    "vary": {"backbone.depth": [1, 2, 3], "backbone.mlp_ratio": [2.0, 4.0], "optimizer.lr": [0.01, 0.003]},
    "design": {
        "type": "search",
        "algorithm": "evolution",
        "trials": ALL,
        "population": 4,
        "tournament": 2,
        "inherit": True,
    },
    "budget": {"steps": 2},
    "evaluate": {"metrics": [], "samples": 1, "previews": 0},
    "objectives": ["loss", "gflops"],
    "executor": {"type": "local", "in_process": True},
}

KID = {"metrics": [{"type": "kid", "features": "classifier"}], "samples": 100, "at": [0.5]}
BASELINE = {"backbone.depth": 1, "backbone.mlp_ratio": 4.0, "optimizer.lr": 0.01}


def study(**changes: Any) -> dict[str, Any]:
    """The study with values at paths whose parts `__` joins."""
    return changed(STUDY, changes, "__")


def asked(folder: Path) -> list[Any]:
    """Candidates of the ledger that were asked for to the end: choices, parent, values."""
    return [(t.params, t.user_attrs.get("start"), t.values) for t in ledger(folder) if t.state.name != "FAIL"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("whole") / "study"
    outcome = Driver(folder, STUDY).run()
    assert outcome.measured == ALL and not outcome.failed
    yield folder


def test_a_childs_parent_is_part_of_its_identity_and_stands_in_its_record(whole: Path) -> None:
    records, loaded = trials(whole), load_study(STUDY)
    children = [record for record in records.values() if "inherited" in record]
    assert 3 <= len(children) < ALL
    by_hash = {record["config_hash"][:12]: record for record in records.values()}
    assert any("inherited" in by_hash[child["inherited"]["parent"]] for child in children)  # a grandchild
    for child in children:
        told, parent = child["inherited"], by_hash[child["inherited"]["parent"]]
        before = parent.get("inherited", {"ancestors": 0, "train_gflops": 0.0})
        assert told["ancestors"] == before["ancestors"] + 1
        own = 3 * parent["gflops"] * parent["images"]
        assert told["train_gflops"] == pytest.approx(own + before["train_gflops"])
        assert "start" not in child["choices"] and child["teacher"]["trial"] == parent["trial"]
        digest = loaded.trial_settings.digest
        word = {"start": parent_of(parent["trial"])}
        assert digest(loaded.candidate({**child["choices"], **word})) == child["config_hash"]
        assert digest(loaded.candidate(child["choices"])) != child["config_hash"]
        moved = {path for path in child["choices"] if child["choices"][path] != parent["choices"][path]}
        assert len(moved) == 1
        deeper = child["choices"]["backbone.depth"] >= parent["choices"]["backbone.depth"]
        if deeper and moved != {"backbone.mlp_ratio"}:
            assert told["gap"] == 0


def test_a_child_trained_again_by_its_job_gives_what_its_record_says(whole: Path, tmp_path: Path) -> None:
    assert 3 <= assert_lineage(whole, STUDY, ALL, tmp_path / "again", most=2) < ALL


@pytest.mark.slow  # a child's every moment
def test_a_driver_that_dies_while_a_child_is_asked_for_asks_for_the_same(whole: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    short = study(design__trials=ALL - 1)
    Driver(begun, short).run()
    with killed_at(-1) as counted:
        Driver(begun, short).run()
    start = counted[0]
    shutil.copytree(begun, tmp_path / "counted")
    with killed_at(-1) as counted:
        Driver(tmp_path / "counted", STUDY).run()
    assert counted[0] - start >= 6  # a question, the parent, three choices, an answer
    for number in range(start + 1, counted[0] + 1):
        place = tmp_path / str(number)
        shutil.copytree(begun, place)
        with killed_at(number), pytest.raises(Killed):
            Driver(place, STUDY).run()
        before = marks(place)
        Driver(place, STUDY).run()
        assert asked(place) == asked(whole), number
        assert results(place) == results(whole), number
        assert {trial: marks(place)[trial] for trial in before} == before, number


def test_a_ledger_that_was_lost_is_made_of_the_records(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(whole, folder)
    (folder / "optuna.db").unlink()
    before = marks(folder)
    outcome = Driver(folder, STUDY).run()
    assert outcome.measured == 0 and marks(folder) == before
    starts = {(str(params), start) for params, start, _ in asked(whole)}
    assert {(str(params), start) for params, start, _ in asked(folder)} == starts


def test_a_parent_whose_weights_are_gone_leaves_nothing_to_its_children(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(whole, folder)
    for checkpoint in folder.glob("trials/*/checkpoint"):
        shutil.rmtree(checkpoint)
    assert Driver(folder, study(design__trials=ALL + 1)).run().measured == 1
    (new,) = trials(folder).keys() - trials(whole).keys()
    assert "inherited" not in trials(folder)[new]


def test_a_parent_that_is_gone_is_trained_again_before_its_child(whole: Path, tmp_path: Path) -> None:
    """Its record cut short, then its checkpoint gone: what was asked for with its weights is no other candidate."""
    folder = tmp_path / "study"
    shutil.copytree(whole, folder)
    child = max(trials(whole).values(), key=lambda record: record.get("inherited", {"ancestors": 0})["ancestors"])
    parent = folder / "trials" / child["teacher"]["trial"]
    for damage in ("record", "checkpoint"):
        shutil.rmtree(folder / "trials" / child["trial"])
        if damage == "record":
            packed = parent / "trial.jsonl.gz"
            packed.write_bytes(packed.read_bytes()[:50])
        else:
            shutil.rmtree(parent / "checkpoint")
            told = Driver(folder, STUDY)
            assert told.run().failed == 1
            words = f"its parent, trial {parent.name}: has no trained weights in {parent}"
            assert words in told.lines[-1] and f"remove {parent}, so that it is trained again" in told.lines[-1]
            shutil.rmtree(parent)
        assert Driver(folder, STUDY).run().measured == 2
        assert results(folder) == results(whole)


def test_seeds_that_are_added_inherit_from_the_same_seed(whole: Path, tmp_path: Path) -> None:
    folder, more = tmp_path / "study", study(design__seeds=2)
    shutil.copytree(whole, folder)
    before = marks(folder)
    assert Driver(folder, more).run().measured == ALL
    assert {trial: marks(folder)[trial] for trial in before} == before
    assert_lineage(folder, more, ALL, tmp_path / "again", most=0)


def test_fresh_and_inherited_candidates_meet_on_no_front_unless_asked(whole: Path) -> None:
    found = ablate.load(whole)
    children = found.trials["inherited_from"].notna()
    hashes = set(found.trials.loc[children, "config_hash"])
    fronts = {starts: found.front(starts=starts) for starts in ("fresh", "inherited", "all")}
    on_front = {starts: set(t.loc[t["on_front"], "config_hash"]) for starts, t in fronts.items()}
    assert on_front["fresh"] and not on_front["fresh"] & hashes
    assert on_front["inherited"] and on_front["inherited"] <= hashes
    assert on_front["all"] <= on_front["fresh"] | on_front["inherited"] and on_front["all"] & hashes
    assert fronts["fresh"].set_index("config_hash").loc[sorted(hashes), "violates"].str.startswith("inherited").all()
    assert (found.trials.loc[children, "ancestors_train_gflops"] > 0).all()
    assert not set(found.effects("loss", BASELINE)["config_hash"]) & hashes
    with pytest.raises(InputError, match="what a choice does is not told from what more training does"):
        found.main_effects("loss")
    with pytest.raises(InputError, match="the starts are fresh, inherited and all"):
        found.front(starts="anew")  # type: ignore[arg-type]
    assert f"{len(hashes)} candidates began with the weights of a parent" in found.summary(plain=True)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (study(base__start="parent:0123456789ab"), "only a search that inherits gives its candidates parents"),
        (study(vary__start=["scratch", "parent:0123456789ab"]), "only a search that inherits gives its candidates"),
        (study(vary__start=["scratch", "baseline"]), "do not vary start"),
        (study(base__start="parent:0123"), "string should match pattern"),
        (
            study(fidelity={"type": "asha", "first": 0.5}, objectives=["kid"], evaluate=KID),
            "pauses candidates, whose children would begin with the weights of half a training",
        ),
        (
            study(seeding={"type": "racing", "most": 5}, objectives=["kid"], design__seeds=3, evaluate=KID),
            "adds seeds to one candidate, and not to its parent",
        ),
        (
            study(base__guidance={"type": "autoguidance", "scale": 2.0, "width": 0.5}, base__backbone__width=16),
            "a child of the baseline cannot inherit from it: guidance 'autoguidance' trains a smaller network beside",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_when_the_study_is_read(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as refused:
        load_study(spec)
    assert words in str(refused.value)


def test_a_larger_budget_does_not_go_on_from_smaller_ones(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ablate.run(study(design__trials=2, design__seeds=1), out=tmp_path / "grown", figures=False)
    with pytest.raises(InputError, match="inherited from trials of the smaller budget"):
        ablate.run(study(design__trials=2, budget={"steps": 3}), out=tmp_path / "grown", figures=False)


def test_without_it_a_study_is_as_it_was() -> None:
    plain = load_study(study(design={k: v for k, v in STUDY["design"].items() if k != "inherit"}))
    assert "inherit" not in plain.study.design.active() and not plain.study.design.inherits
    assert load_study(study(design__inherit=False)).study.design.digest() == plain.study.design.digest()
    assert "start" not in plain.study.base.active()
