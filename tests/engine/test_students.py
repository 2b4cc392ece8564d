"""Trials that learn from others of their study: in order, seed by seed, and what becomes of them without a teacher."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from segments_for_tests import timeless
from studies_for_tests import Driver, results, study, trials
from trial_files import record_of

import ablate
from ablate.candidates.candidate import compose
from ablate.errors import InputError
from ablate.execute.replay import Replay
from ablate.io.files import write_json
from ablate.io.sealed import sealed
from ablate.kinds.executor import Stopped
from ablate.study import lock
from ablate.training.checkpoint import newest
from ablate.worker import records, trial_run
from ablate.worker.teachers import weights_hash

RUNGS = (4, 2, 1)


def ladder(*rungs: int, backbone: Any = "probe", **changes: Any) -> dict[str, Any]:
    """Students of ever fewer steps, each of which learns from the one before, in any order; the last is not taught."""
    taught = [{"type": "distill", "first": 4, "steps": steps} for steps in rungs]
    base = {
        "backbone": backbone,
        "solver": {"type": "ddim", "steps": 1},
        "batch": 16,
        "target": "v",
        "weighting": "max_snr",
    }
    return study(**{"base": base, "vary": {"objective": [*taught, "denoise"]}, "budget": {"steps": 6}, **changes})


def by_steps(folder: Path, seed: int, name: str = "record.json") -> dict[int, dict[str, Any]]:
    """Records of a seed by the steps of their student; 0: of the candidate that is not taught."""
    found = {}
    for record in trials(folder, name).values():
        if record["seed"] == seed:
            choice = record["choices"]["objective"]
            found[
                0 if choice == "denoise" else int(choice.partition("steps=")[2].partition(")")[0].partition(",")[0])
            ] = record
    return found


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students") / "study"
    driver = Driver(folder, ladder(*reversed(RUNGS)))
    lock.write(folder, driver.loaded)
    assert driver.run().measured == 8
    return folder


def test_each_rung_learns_from_the_one_before_of_its_seed(distilled: Path) -> None:
    """Whatever the order of `vary`: the baseline comes first, the student of one step is listed before its teachers."""
    for seed in (0, 1):
        of = by_steps(distilled, seed)
        assert of.keys() == {0, *RUNGS} and "teacher" not in of[0]
        for steps in RUNGS:
            teacher = of[2 * steps if steps < 4 else 0]
            weights = weights_hash(distilled / "trials" / teacher["trial"])
            assert of[steps]["teacher"] == {"trial": teacher["trial"], "weights": weights}
            assert of[steps]["train_pass_gflops"] > of[steps]["gflops"]
    again = Driver(distilled, ladder(*reversed(RUNGS))).run()
    assert (again.reused, again.measured, again.failed) == (8, 0, 0)


def test_an_interrupted_student_goes_on_to_the_same_weights(distilled: Path, tmp_path: Path) -> None:
    """From its checkpoint, which has the teacher's hash; of another teacher neither that nor the record counts."""
    source = distilled / "trials" / by_steps(distilled, 0)[2]["trial"]
    whole = record_of(source)
    job = {**records.job(source), "folder": str(tmp_path / "a" / source.name)}
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Stopped):
        trial_run.run(job, soon)
    assert newest(tmp_path / "a" / source.name / "checkpoint", "cpu").images < whole["images"]
    report = trial_run.run(job, lambda: False)
    assert timeless(report["record"]) == timeless(whole)
    assert weights_hash(tmp_path / "a" / source.name) == weights_hash(source)
    other = {**job, "teacher": {**job["teacher"], "weights": "0" * 64}}
    assert "is of another teacher" in str(records.fault(report["record"], source.name, other))
    (tmp_path / "a" / source.name / records.PACKED).unlink()
    with pytest.raises(InputError, match="other weights"):
        trial_run.run(other, lambda: False)


def test_a_teacher_that_was_trained_anew_has_its_students_trained_anew(distilled: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(distilled, tmp_path / "study")
    teacher = folder / "trials" / by_steps(folder, 1)[4]["trial"]
    facts_file = max(teacher.glob("checkpoint/*.json"))
    facts = json.loads(facts_file.read_text())
    write_json(facts_file, sealed({**facts, "snapshots": {"0": "of another training"}}))
    before = results(folder)
    driver = Driver(folder, ladder(*reversed(RUNGS)))
    outcome = driver.run()
    assert (outcome.measured, outcome.reused) == (1, 7)
    assert any("is of another teacher" in line for line in driver.lines)
    of = by_steps(folder, 1)
    assert of[2]["teacher"]["weights"] == weights_hash(teacher) != before[of[2]["trial"]]["teacher"]["weights"]


@pytest.mark.parametrize(("backbone", "word"), [({"trap": "raise"}, "failed"), ({"bad": 7}, "diverged")])
def test_students_of_a_teacher_without_weights_are_told(tmp_path: Path, backbone: dict[str, Any], word: str) -> None:
    """Of a teacher that raised, or diverged: a trial that has failed, with the reason; its own students after it."""
    backbone = {"type": "probe", "once": str(tmp_path / "once"), **backbone}
    folder = tmp_path / "study"
    driver = Driver(folder, ladder(4, 2, 1, backbone=backbone, design={"type": "one_factor", "seeds": 1}))
    outcome = driver.run()
    failures = by_steps(folder, 0, "failure.json")
    if word == "failed":  # the first trial, which is not taught
        assert (outcome.measured, outcome.failed) == (0, 4)
        assert "learns from denoise of the same seed, which failed" in failures[4]["message"]
        assert "learns from distill(steps=4) of the same seed, which failed" in failures[2]["message"]
        assert (
            Driver(folder, ladder(4, 2, 1, backbone=backbone, design={"type": "one_factor", "seeds": 1})).run().failed
            == 0
        )
        assert not trials(folder, "failure.json")
    else:  # the seventh pass of all, which is the student's first
        assert (outcome.measured, outcome.diverged, outcome.failed) == (2, 1, 2)
        assert by_steps(folder, 0)[4]["state"] == "diverged"
        assert "learns from distill(steps=4) of the same seed, which diverged" in failures[2]["message"]


def test_a_replayed_ladder_needs_no_weights(distilled: Path, tmp_path: Path) -> None:
    ablate.record([distilled], tmp_path / "table.parquet")
    with Replay(table=str(tmp_path / "table.parquet"), workers=8).start("", "cpu") as pool:
        outcome = Driver(tmp_path / "replayed", ladder(*RUNGS), pool).run()
        assert (outcome.measured, outcome.failed) == (8, 0)
        chain = [r["train_seconds"] + r["evaluate_seconds"] for r in by_steps(distilled, 0).values()]
        assert pool.clock >= sum(chain) * 0.99  # one after another, though there are workers for all


def test_a_total_that_leaves_no_room_for_the_teacher_is_told(tmp_path: Path) -> None:
    """The student waits, and the study says so; with more it goes on."""
    one = {"type": "distill", "first": 4, "steps": 4}
    spec = ladder(design={"type": "one_factor", "seeds": 1}, total={"trials": 1})
    spec["base"]["objective"], spec["vary"] = one, {"objective": [one, "denoise"]}
    folder = tmp_path / "study"
    outcome = Driver(folder, spec).run()
    assert outcome.measured == 0 and "1 trials wait for others to learn from" in str(outcome.short)
    assert Driver(folder, {**spec, "total": {"trials": 2}}).run().measured == 2


def test_the_candidate_that_teaches_is_the_same_but_for_its_objective() -> None:
    spec = ladder(1)
    driver = Driver(Path("nowhere"), ladder(*RUNGS))
    student = compose({**spec["base"], "objective": {"type": "distill", "first": 4, "steps": 2}}, driver.loaded.catalog)
    chain = [student]
    while (teacher := chain[-1].teacher(driver.loaded.catalog)) is not None:
        chain.append(teacher)
    assert [one.objective.name for one in chain] == ["distill", "distill", "denoise"]
    assert all(one.model_copy(update={"objective": student.objective}) == student for one in chain)
