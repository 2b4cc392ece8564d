"""Studies that grow in their folder, and trials that are reused from other folders: nothing is measured twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from segments_for_tests import CACHE
from studies_for_tests import ledger, marks, results, search, study, trials
from trial_files import change

import ablate
from ablate.errors import InputError
from ablate.io.files import write_json
from ablate.study import lock
from ablate.study.grow import growth, set_ledger_aside
from ablate.study.launch import launch
from ablate.study.load import load_study
from ablate.worker import records

HERE = {"type": "local", "in_process": True}


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))


def run(folder: Path, spec: dict[str, Any], **more: Any) -> ablate.Results:
    return ablate.run({**spec, "executor": HERE}, out=folder, device="cpu", figures=False, **more)


def listed(widths: list[int], **more: Any) -> dict[str, Any]:
    return study(vary={"backbone.width": widths}, design={"type": "grid", "seeds": 1}, **more)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study with two candidates."""
    folder = tmp_path_factory.mktemp("two") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        run(folder, listed([2, 4]))
    return folder


@pytest.fixture
def begun(two: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two, tmp_path / "begun"))


def test_more_choices_and_a_further_line_join_what_was_measured(begun: Path, tmp_path: Path) -> None:
    before = trials(begun)
    spec = listed([4, 2, 8])
    spec["vary"]["target"] = ["epsilon", "v"]
    grown = run(begun, spec)
    assert len(grown.trials) == 6 and grown.trials["c.target"].notna().all()
    for trial, record in before.items():  # but for its name and the checksums it is the same file
        own = {key: record[key] for key in ("choices", "checksum", "beside")}
        after = {**trials(begun)[trial], **own}
        assert after == record and "target" in trials(begun)[trial]["choices"]
    plain = run(tmp_path / "whole", spec)
    assert plain.front()[["candidate", "kid_pixels"]].equals(grown.front()[["candidate", "kid_pixels"]])
    [entry] = grown.lock["grown"]
    assert entry["added"] == [
        "vary.backbone.width: [2, 4] -> [4, 2, 8]",
        'vary.target: (not there) -> ["epsilon", "v"]',
    ]
    assert grown.lock["identity"] == plain.lock["identity"] and (begun / "optuna-1.db").is_file()
    with pytest.raises(InputError, match=r"vary.backbone.width: \[4, 2, 8\] -> \[4, 2\]"):  # and does not shrink
        run(begun, listed([4, 2]))


def test_another_design_goes_on_with_the_same_trials(begun: Path) -> None:
    """A search that follows a grid begins with what the grid has found."""
    spec = {**listed([2, 4, 6, 8]), "design": {"type": "search", "algorithm": "tpe", "trials": 3}}
    found = run(begun, spec)
    assert len(found.trials) == 3 and {2, 4} < set(found.trials["c.backbone.width"])
    assert len(ledger(begun)) >= 3 and all(trial.values for trial in ledger(begun)[:2])


def test_a_search_that_grows_keeps_its_candidates_with_the_base_at_the_new_line(tmp_path: Path) -> None:
    spec = search(algorithm="tpe", trials=3)
    run(tmp_path, spec)
    before, values = trials(tmp_path), [trial.values for trial in ledger(tmp_path)]
    more = {**spec, "vary": {**spec["vary"], "backbone.width": [4, 8]}, "design": {**spec["design"], "trials": 5}}
    run(tmp_path, more)
    after = ledger(tmp_path)
    assert len(trials(tmp_path)) == 5
    assert all(trials(tmp_path)[trial]["seconds"] == record["seconds"] for trial, record in before.items())
    assert [trial.params["backbone.width"] for trial in after[:3]] == [4, 4, 4]
    assert sorted(trial.values for trial in after[:3]) == sorted(values)


def test_killed_while_it_grows_it_is_as_it_was(begun: Path) -> None:
    """Optuna's study is set aside before the lock says that there is more."""
    before = marks(begun)
    set_ledger_aside(begun)
    assert len(run(begun, listed([2, 4])).trials) == 2 and marks(begun) == before
    assert len(run(begun, listed([2, 4, 8])).trials) == 3
    assert sorted(file.name for file in begun.glob("optuna*.db")) == ["optuna-1.db", "optuna-2.db", "optuna.db"]


@pytest.mark.parametrize(
    ("then", "now", "lines"),
    [
        ({"vary": {"a": {"low": 0, "high": 1}}}, {"vary": {"a": {"low": 0, "high": 2}}}, 1),
        ({"vary": {"a": {"low": 0, "high": 1}}}, {"vary": {"a": {"low": 0.5, "high": 2}}}, None),
        ({"vary": {"a": {"low": 1, "high": 9, "log": True}}}, {"vary": {"a": {"low": 1, "high": 9}}}, None),
        ({"vary": {"a": [1]}}, {"vary": {"a": {"low": 0, "high": 1}}}, None),
        ({"vary": {"a": "all"}}, {"vary": {"a": "all", "b": [1]}}, 1),
        ({"vary": {"a": [1]}, "budget": 1}, {"vary": {"a": [1, 2]}, "budget": 2}, None),
        ({"vary": {"a": [1]}, "seed": 1}, {"vary": {"a": [1]}}, None),
        ({"vary": {"a": [1]}, "design": "grid"}, {"vary": {"a": [1]}, "design": "search"}, 1),
        ({"vary": {"a": [1]}}, {"vary": {"a": [1]}}, 0),
        ({"vary": {"a": {"b": "c"}}}, {"vary": {"a": {"b": "c", "d": "e"}}}, 1),  # choices with names
        ({"vary": {"a": {"b": "c"}}}, {"vary": {"a": {"b": "e", "d": "e"}}}, None),
    ],
)
def test_what_growth_is(then: dict[str, Any], now: dict[str, Any], lines: int | None) -> None:
    added = growth(then, now)
    assert (None if added is None else len(added)) == lines


def test_trials_of_another_folder_are_taken_and_say_so(two: Path, tmp_path: Path) -> None:
    spec = listed([2, 4, 8], study="other")
    found = run(tmp_path / "with", {**spec, "reuse": [str(two)]})
    assert results(tmp_path / "with").keys() == results(tmp_path / "with").keys() | results(two).keys()
    for trial in trials(two):
        assert trials(tmp_path / "with")[trial] == trials(two)[trial]
        assert records.content(tmp_path / "with/trials" / trial, records.CURVE)
    origins = found.trials.set_index("trial")["origin"]
    assert dict(origins.dropna()) == dict.fromkeys(trials(two), str(two)) and len(origins) == 3
    assert f"2 trials were reused from {two}" in str(found.summary())
    assert found.front()["kid_pixels"].notna().all()
    network = found.network(next(iter(trials(two))))  # its weights came with it
    assert sum(p.numel() for p in network.parameters()) > 0
    before = marks(tmp_path / "with")
    run(tmp_path / "with", {**spec, "reuse": [str(two)]})
    assert marks(tmp_path / "with") == before


def test_a_copy_that_was_cut_short_is_made_again(two: Path, tmp_path: Path) -> None:
    """The record comes last, so half a copy does not count."""
    spec = {**listed([2, 4], study="other"), "reuse": [str(two)]}
    trial = next(iter(trials(two)))
    half = tmp_path / "with/trials" / trial
    lock.write(tmp_path / "with", load_study(spec))
    half.mkdir(parents=True)
    write_json(half / records.CURVE, records.content(two / "trials" / trial, records.CURVE))
    run(tmp_path / "with", spec)
    assert trials(tmp_path / "with") == trials(two) and (half / "origin.json").is_file()


def test_trials_of_other_source_or_that_do_not_count_are_measured_anew(begun: Path, tmp_path: Path) -> None:
    first, second = trials(begun)
    change(begun / "trials" / first, lambda record: record["sources"].update({"target/epsilon": "0" * 64}))
    (begun / "trials" / second / records.PACKED).write_text("{")
    lines: list[str] = []
    spec = {**listed([2, 4]), "reuse": [str(begun)], "executor": HERE}
    launched = launch(spec, out=tmp_path / "with", device="cpu", say=lines.append, figures=False)
    found = ablate.load(launched.folder)
    assert "origin" not in found.trials and set(found.trials["state"]) == {"complete"}
    assert any("were measured with other source (target/epsilon)" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"budget": {"steps": 1}},
            r"no trial of .* is one of this study; what differs \(there -> here\):\n  budget.steps: 2 -> 1",
        ),
        ({"reuse": ["nowhere"]}, "reuse: nowhere is no study's folder: it holds no lock.json"),
    ],
)
def test_what_cannot_be_reused_is_refused_before_any_training(
    two: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(tmp_path / "with", {**listed([2, 4]), "reuse": [str(two)], **changes})
    assert not (tmp_path / "with").exists()
