"""Who teaches is known when a study is read: a trial of another study, or a candidate of this; who cannot is told."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segments_for_tests import CACHE
from trial_files import lay_open, records_of

import ablate
from ablate.errors import InputError
from ablate.io.files import write_json
from ablate.io.sealed import sealed
from ablate.results import load
from ablate.study import lock
from ablate.study.load import load_study
from ablate.study.plan import plan
from ablate.study.taught import check_data
from ablate.worker import records

TEACHERS: dict[str, Any] = {
    "study": "teachers",
    "data": "digits",
    "base": {
        "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2},
        "schedule": "cosine",
        "target": "v",
        "weighting": "max_snr",
        "batch": 16,
    },
    "vary": {"backbone.width": [16, 32]},
    "design": {"type": "one_factor", "seeds": 2},
    "budget": {"steps": 2},
    "evaluate": {"metrics": [], "samples": 4},
    "objectives": ["loss"],
    "executor": {"type": "local", "in_process": True},
}
TRIAL = {"study": "results/teachers", "candidate": "baseline"}


def student(**changes: Any) -> dict[str, Any]:
    """A study of students of the trained candidate, with values at dotted paths."""
    made = copy.deepcopy(TEACHERS)
    made |= {"study": "students", "budget": {"steps": 1}, "vary": {"objective.steps": [4, 2, 1]}}
    made["base"]["objective"] = {"type": "distill", "first": 4, "steps": 4, "trial": dict(TRIAL)}
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = made
        for parent in parents:
            place = place[parent]
        place[last] = value
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the teachers were trained."""
    home = tmp_path_factory.mktemp("taught")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        patch.chdir(home)
        ablate.run(copy.deepcopy(TEACHERS), device="cpu", figures=False)
        yield home


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the test runs."""
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    shutil.copytree(home / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hashes(spec: dict[str, Any]) -> list[str]:
    loaded = load_study(spec)
    return [loaded.trial_settings.digest(loaded.candidate(a)) for a in loaded.proposals() or ()]


def trial_of(folder: Path, seed: int, width: int = 16) -> Path:
    """The folder of a teacher's trial."""
    for trial in folder.glob("results/teachers/trials/*"):
        job = records.job(trial)
        if job["seed"] == seed and job["candidate"]["backbone"]["width"] == width:
            return trial
    raise AssertionError


def test_students_are_trained_by_a_trial_of_another_study(here: Path) -> None:
    """Seed by seed, with a budget of their own; the whole ladder, and again from a folder that has moved."""
    results = ablate.run(student(), device="cpu", figures=False)
    assert results.trials["state"].tolist() == ["complete"] * 6
    first = {r["seed"]: r["teacher"] for r in _records(here, "steps=4")}
    assert {seed: teacher["trial"] for seed, teacher in first.items()} == {s: trial_of(here, s).name for s in (0, 1)}
    (here / "results" / "teachers").rename(here / "elsewhere")
    moved = student(**{"base.objective.trial.study": "elsewhere"})
    again = ablate.run(moved, device="cpu", figures=False)
    assert set(again.trials["trial"]) == set(results.trials["trial"]) and len(again.trials) == 6
    shutil.rmtree(here / "elsewhere")
    assert set(load(here / "results" / "students").trials["state"]) == {"complete"}
    (identity,) = lock.read(here / "results" / "students")["teachers"]
    pinned = student(**{"base.objective.trial.study": "elsewhere", "base.objective.trial.identity": identity})
    assert len(ablate.run(pinned, device="cpu", figures=False).trials) == 6  # nothing is left to be learned


def _records(here: Path, name: str) -> list[dict[str, Any]]:
    found = records_of(here / "results/students").values()
    return [record for record in found if str(record["choices"]["objective.steps"]) == name.partition("=")[2]]


def test_the_network_that_teaches_is_part_of_the_identity(here: Path) -> None:
    """Not where it lies, nor what it is called there; with a seed of its own the very weights."""
    plain = hashes(student())
    config_hash = trial_of(here, 0).name.partition("-")[0]
    assert hashes(student(**{"base.objective.trial.candidate": config_hash})) == plain
    shutil.copytree("results/teachers", "copy")
    assert hashes(student(**{"base.objective.trial.study": "copy"})) == plain
    fixed = hashes(student(**{"base.objective.trial.seed": 0}))
    assert not {*fixed} & {*plain, *hashes(student(**{"base.objective.trial.seed": 1}))}
    facts = max(trial_of(here, 0).glob("checkpoint/*.json"))
    write_json(facts, sealed({**json.loads(facts.read_text()), "snapshots": {"0": "others"}}))
    assert hashes(student()) == plain and not {*hashes(student(**{"base.objective.trial.seed": 0}))} & {*fixed}


@pytest.mark.thorough
def test_a_folder_goes_on_with_its_own_teacher_alone(here: Path) -> None:
    """Also where the choices name it, and not the base."""
    ablate.run(student(), device="cpu", figures=False)
    varied = student(
        study="varied", vary={"objective": [student(**{"base.objective.trial.seed": 1})["base"]["objective"]]}
    )
    ablate.run(varied, device="cpu", figures=False)
    facts = max(trial_of(here, 1).glob("checkpoint/*.json"))
    write_json(facts, sealed({**json.loads(facts.read_text()), "snapshots": {"0": "others"}}))
    with pytest.raises(InputError, match="learn from another network than when it was begun"):
        ablate.run(varied, device="cpu", figures=False)
    record = trial_of(here, 0)
    other = student(**{"base.objective.trial.seed": 0})
    with pytest.raises(InputError, match="holds another study"):  # the seed is a field
        ablate.run(other, device="cpu", figures=False)
    folder = here / "results" / "fixed"
    ablate.run(other, out=folder, device="cpu", figures=False)
    facts = max(record.glob("checkpoint/*.json"))
    write_json(facts, sealed({**json.loads(facts.read_text()), "snapshots": {"0": "others"}}))
    with pytest.raises(InputError, match=r"base\.objective\.trial\.identity"):
        ablate.run(other, out=folder, device="cpu", figures=False)


def test_the_plan_says_who_learns_from_whom(here: Path) -> None:
    lines = plan(load_study(student()), "cpu").attrs["points"]
    assert "2 candidates learn from others of this study, and wait for them" in lines
    assert any(line.startswith("candidates learn from baseline of results/teachers, seed same") for line in lines)


WITHIN = {"base.objective": "denoise", "vary": {"objective": ["denoise", {"type": "distill", "first": 4, "steps": 4}]}}
JUDGED = {"evaluate": {"metrics": [{"type": "kid", "features": "classifier"}], "samples": 40}, "objectives": ["kid"]}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another schedule": ({"base.schedule": "linear"}, 'its schedule is another.*schedule.type: "cosine" -> "linear"'),
    "another shape": ({"base.backbone.width": 64}, "its backbone is another.*backbone.width: 16 -> 64"),
    "another target": ({"base.target": "x0"}, "its target is another"),
    "other data": ({"data": {"type": "digits", "reference": 400}}, "other data: data.reference: 500 -> 400"),
    "no such seed": ({"design.seeds": 3}, "width=16, seed 2, is not there, but seed 0, 1"),
    "no such folder": ({"base.objective.trial.study": "nowhere"}, "nowhere is no study's folder"),
    "no such candidate": ({"base.objective.trial.candidate": "width=61"}, "no candidate 'width=61'.*width=16"),
    "several candidates": ({"base.objective.trial.candidate": None}, "several candidates; say which one.*width=32"),
    "dropped labels": ({"base.guidance": {"type": "cfg", "drop": 0.1}}, "never seen an image without its label"),
    "another identity": ({"base.objective.trial.identity": "0" * 64}, "has the identity [0-9a-f]{64}, not the one"),
    "not in the study": ({"base.objective.first": 8}, r"learns from the same .* objective \{type: distill, steps: 8"),
    "a search": ({**WITHIN, "design": {"type": "search", "trials": 2}}, "finds its candidates by itself"),
    "a fidelity": ({**WITHIN, **JUDGED, "fidelity": {"type": "asha"}}, "pauses candidates"),
    "a seeding": (
        {**WITHIN, **JUDGED, "design.seeds": 4, "seeding": {"type": "racing", "most": 8}},
        "adds seeds to one candidate",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_teach_is_refused_when_the_study_is_read(here: Path, what: str) -> None:
    changes, message = WRONG[what]
    with pytest.raises(InputError, match=message):
        load_study(student(**changes))


def test_trials_without_weights_are_told_together(here: Path) -> None:
    """One is not finished, one has lost its checkpoint: both in one message."""
    lay_open(here / "results/teachers")
    (trial_of(here, 0) / "record.json").unlink()
    shutil.rmtree(trial_of(here, 1) / "checkpoint")
    with pytest.raises(InputError) as error:
        load_study(student())
    assert "seed 0, is not finished" in str(error.value) and "seed 1, has no weights any more" in str(error.value)


@pytest.mark.thorough
def test_a_teacher_that_was_distilled_itself_teaches_students_of_half_its_steps(here: Path) -> None:
    ablate.run(student(), device="cpu", figures=False)
    of = {"study": "results/students", "candidate": "steps=2"}
    with pytest.raises(InputError, match=r"was itself distilled to 2 steps.*say first: 1"):
        load_study(student(**{"base.objective.trial": of, "study": "more"}))
    once = {"type": "distill", "first": 1, "steps": 1, "trial": of}
    more = student(**{"base.objective": once, "vary": {"batch": [16, 32]}, "study": "more"})
    assert len(ablate.run(more, device="cpu", figures=False).trials) == 4


def test_other_pictures_of_the_same_name_are_told(here: Path) -> None:
    loaded = load_study(student())
    check_data(loaded, None)
    with pytest.raises(InputError, match="was trained on other data, and cannot teach"):
        check_data(loaded, "f" * 64)
