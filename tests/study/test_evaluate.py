"""`ablate evaluate`: measuring again from checkpoints."""

import itertools
import json
import shutil

import pandas as pd
import pytest
from crowd_for_tests import Crowd
from segments_for_tests import CACHE, PLUGIN
from trial_files import change, record_files, record_of

from ablate import load
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.names import Names
from ablate.engine import Watchdog
from ablate.errors import InputError
from ablate.execute.local import InProcessPool, Local
from ablate.io import launches
from ablate.kinds.executor import Pool
from ablate.study import evaluate
from ablate.study.evaluate import remeasure
from ablate.study.launch import launch
from ablate.study.request import Request
from ablate.training.checkpoint import Checkpoint, newest, save
from ablate.worker import records
from ablate.worker.remeasure import run, sign

STUDY = {
    "study": "again",
    "plugins": [PLUGIN],
    "data": "digits",
    "base": {
        "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 1},
        "target": "v",
        "solver": {"type": "dpmpp_2m", "steps": 3},
        "guidance": {"type": "cfg", "scale": 1.5, "drop": 0.2},
        "optimizer": {"type": "adamw", "lr": 2e-2},
        "batch": 32,
    },
    "vary": {"backbone.conditioning": ["adaln_zero", "adaln"]},
    "budget": {"steps": 12},
    "evaluate": {"metrics": [{"type": "kid", "features": "pixels"}], "samples": 12, "previews": 0},
}
METRIC = "kid_pixels"


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        launch(STUDY, out=folder, executor="local", figures=False)
    return folder


@pytest.fixture
def folder(once, tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    return shutil.copytree(once, tmp_path / "study")


def again(folder, **changes):
    return remeasure(folder, Request(**changes), executor="local")


def test_what_the_study_measured_is_there_already_and_would_come_out_again(folder):
    before = load(folder).metrics
    written = {path: path.read_bytes() for path in record_files(folder)}
    outcome = again(folder)
    assert (outcome.measured, outcome.reused, len(outcome.rows)) == (0, 2, 2)
    assert len(load(folder).metrics) == len(before)
    for trial in folder.glob("trials/*"):
        job = records.job(trial)
        own = {"solver": job["candidate"]["solver"], "guidance": job["candidate"]["guidance"], "averages": None}
        ways = {"evaluation": job["evaluation"], **own}
        done = run({**job, "job": "x", "device": "cpu", "cache": str(CACHE), "asked": ways, "folder": str(trial)}, stop)
        assert done["rows"] == record_of(trial)["metrics"], "the same weights and draws"
    after = load(folder)
    assert len(after.metrics) == len(before) and after.warnings == [], "a row of each, though two files hold it"
    assert {path: path.read_bytes() for path in written} == written, "a record is written once"


def stop():
    return False


def test_a_half_of_the_reference_confirms_and_never_meets_the_whole(folder):
    """What was chosen by all reference images can be looked at with those of even or odd number."""
    before = load(folder).front(["kid"])
    for half in ("even", "odd"):
        outcome = again(folder, reference=half)
        assert (outcome.measured, {row["reference"] for row in outcome.rows}) == (2, {half})
    assert again(folder, reference="even").measured == 0
    results = load(folder)
    pd.testing.assert_frame_equal(results.front(["kid"]), before)
    halves = [results.front(["kid"], where={"reference": half})[METRIC] for half in ("even", "odd")]
    assert not halves[0].equals(halves[1]) and not halves[0].equals(before[METRIC])
    with pytest.raises(InputError, match="differ in reference_hash"):
        results.front(["kid", "gflops"], along=["reference_hash"])
    with pytest.raises(InputError, match="expected one of all, even, odd"):
        again(folder, reference="half")
    assert "reference" not in Evaluation().active() and "reference" in Evaluation(reference="odd").active()


def test_half_a_training_is_not_measured_in_place_of_the_whole(folder):
    """The newest checkpoint is gone: what an older one gives is no number of the trial."""
    trial = min(folder.glob("trials/*"))
    whole = newest(trial / "checkpoint", "cpu")
    own = ("schema", "images", "sha256", "checksum")
    facts = {key: value for key, value in whole.facts.items() if key not in own}
    save(trial / "checkpoint", Checkpoint(whole.images - 32, whole.tensors, facts))
    outcome = again(folder, nfe=[2])
    assert outcome.measured == 1 and "half a training" in outcome.failed[trial.name]


def test_another_subset_of_metrics_measures_only_what_is_missing(folder):
    both = ["{type: kid, features: pixels}", "{type: fd, features: pixels}"]
    outcome = again(folder, metrics=both)
    assert outcome.measured == 2 and {row["metric"] for row in outcome.rows} == {"kid_pixels", "fd_pixels"}
    for file in folder.glob("trials/*/measured/*.json"):
        assert {row["metric"] for row in json.loads(file.read_text())["metrics"]} == {"fd_pixels"}, "kid was there"
    assert (again(folder, metrics=both[1:]).measured, again(folder, metrics=both[::-1]).reused) == (0, 2)
    metrics = load(folder).metrics
    assert metrics.groupby(["trial", "metric"], observed=True).size().eq(1).all()


def test_two_grids_at_one_number_of_evaluations_are_two_measurements(folder):
    outcome = again(folder, nfe=[3, 6], settings=["solver.grid=[karras, trailing]"])
    assert (outcome.measured, outcome.reused, outcome.axes) == (6, 2, ("nfe", "solver_settings")), (
        "3 on trailing is its own"
    )
    results = load(folder)
    own = next(text for text in results.metrics["solver_settings"] if text.startswith("grid=trailing"))
    like_its_own = results.front(["kid", "nfe"])
    assert set(like_its_own[METRIC]) == set(results.front(["kid", "nfe"], where={"solver_settings": own})[METRIC])
    table = results.front(["kid", "nfe"], along=["solver_settings"])
    assert table.groupby(["candidate", "nfe"], observed=True)["solver_settings"].nunique().eq(2).all()
    assert results.metrics.groupby(["trial", "nfe", "solver_settings"], observed=True)[
        "value"
    ].first().nunique() == len(results.metrics)
    assert again(folder, settings=["solver.grid=karras"]).reused == 2
    again(folder, nfe=[9], settings=["solver.grid=[karras, uniform]"])
    with pytest.raises(InputError, match=r"differ in solver_settings.*--set solver.grid="):
        load(folder).front(["kid", "nfe"])  # none of the two at 9 evaluations is like the study's own


def test_rows_without_settings_stay_and_are_not_taken_for_new_ones(folder):
    def without(record):
        for row in record["metrics"]:
            del row["solver_settings"]

    for trial in folder.glob("trials/*"):
        change(trial, without)
    assert load(folder).front()[METRIC].notna().all() and load(folder).warnings == []
    outcome = again(folder, nfe=[3, 6])
    assert (outcome.measured, outcome.reused) == (4, 0)
    with pytest.raises(InputError, match="solver_settings"):
        load(folder).front(["kid", "nfe"])


def test_two_values_of_one_identity_are_named(folder):
    trial = next(folder.glob("trials/*"))
    row = record_of(trial)["metrics"][0]
    (trial / "measured").mkdir()
    (trial / "measured" / "0.json").write_text(json.dumps({"metrics": [{**row, "value": 7.0}]}))
    results = load(folder)
    (warning,) = results.warnings
    assert trial.name in warning and METRIC in warning and "7" in warning
    assert 7.0 not in set(results.metrics["value"]), "the record's stands"


def test_evaluations_and_guidance_become_axes(folder):
    outcome = again(folder, nfe=[2, 6], settings=["guidance.scale=[1, 4]"])
    assert (outcome.measured, outcome.reused, outcome.failed) == (8, 0, {})
    assert outcome.axes == ("nfe", "guidance")
    results = load(folder)
    table = results.front(["kid", "nfe"], along=["guidance"])
    assert len(table) == 2 * (2 * 2 + 1), "two candidates; two by two, and the study's own"
    assert set(table["nfe"]) == {2, 3, 6}
    assert set(table["guidance"]) == {"cfg(1)", "cfg(1.5)", "cfg(4)"}
    values = results.metrics.groupby(["trial", "nfe", "guidance"], observed=True)["value"].first()
    assert values.nunique() == len(values), "each way to sample gives a value of its own"
    assert set(results.front()[METRIC]) == set(load(folder).front(where={"nfe": 3})[METRIC]), "the study's own stands"


def test_samples_and_metrics_can_be_others(folder):
    outcome = again(folder, samples=20, metrics=["{type: fd, features: pixels}"])
    assert outcome.measured == 2
    metrics = load(folder).metrics
    assert set(metrics.loc[metrics["metric"] == "fd_pixels", "samples"]) == {20}


def test_weights_that_are_gone_are_named_and_the_others_measured(folder):
    shutil.rmtree(next(folder.glob("trials/*")) / "checkpoint")
    outcome = again(folder, nfe=[2])
    assert outcome.measured == 1
    assert ["checkpoint is gone" in why for why in outcome.failed.values()] == [True]


def test_weights_of_another_network_are_refused(folder):
    trial = next(folder.glob("trials/*"))
    candidate = records.job(trial)["candidate"]
    change(trial, candidate={**candidate, "backbone": {**candidate["backbone"], "width": 32}})
    assert ["do not fit the network" in why for why in again(folder, nfe=[2]).failed.values()] == [True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": ["guidance.scael=2"]}, "scael"),
        ({"settings": ["guidance.drop=0.3"]}, "belongs to training"),
        ({"settings": ["guidance=none"]}, "all else is training"),
        ({"settings": ["backbone.width=32"]}, "all else is training"),
        ({"settings": ["solver"]}, "expected solver="),
        ({"settings": ["solver=edm_heun"]}, "there is no solver"),
        ({"settings": ["solver.steps=0"]}, "greater than or equal to 1"),
        ({"settings": ["solver=heun"], "nfe": [4]}, "cannot take exactly 4 evaluations; it can take [35] or [35]"),
        ({"metrics": ["fdd"]}, "there is no metric 'fdd'"),
        ({"metrics": ["kid"], "samples": 1}, "needs at least"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_runs(folder, changes, message):
    with pytest.raises(InputError, match=message):
        again(folder, **changes)
    assert not list(folder.glob("trials/*/measured"))


def test_a_folder_without_trials_is_refused(tmp_path):
    (tmp_path / "trials").mkdir()
    with pytest.raises(InputError, match="no complete trial"):
        again(tmp_path)


def test_an_average_that_is_not_there_is_named(folder):
    assert all("no average is called 'long'" in why for why in again(folder, averages=["long"]).failed.values())


def test_lengths_are_rebuilt_from_snapshots(tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    base = {**STUDY["base"], "ema": {"type": "post_hoc", "snapshots": 8}}
    launch(
        {**STUDY, "base": base, "vary": {}, "budget": {"steps": 24}},
        out=tmp_path / "s",
        executor="local",
        figures=False,
    )
    assert again(tmp_path / "s", averages=[0.06, 0.1]).failed == {}
    metrics = load(tmp_path / "s").metrics
    assert {"post_hoc(0.06)", "post_hoc(0.1)"} <= set(metrics["ema"])
    (why,) = again(tmp_path / "s", averages=[0.4]).failed.values()
    assert "0.4" in why


class Hangs(Pool):
    """Takes a job up, which then gives no further sign of life."""

    slots = 1

    def __init__(self):
        self.ended = []

    def submit(self, job):
        sign(job).parent.mkdir(parents=True)
        sign(job).touch()

    def wait(self, timeout):
        ended, self.ended = self.ended, []
        return ended

    def abandon(self, job, why):
        self.ended = [{"job": job, "status": "failed", "message": why}]
        return True

    def close(self):
        pass


def test_a_measurement_that_hangs_is_ended_as_patiently_as_a_trial(tmp_path):
    launches.append(tmp_path, {"action": "run", "executor": {"type": "local", "patience": 60.0}})
    patience = evaluate._patience(tmp_path, Local())
    clock = itertools.count(0.0, 20.0).__next__
    job = {"job": "t-k", "trial": "t", "choices": {}, "seed": 0, "folder": str(tmp_path / "t"), "asked": {}}
    outcome = evaluate.Remeasured()
    watchdog = Watchdog(patience, clock, lambda job: [sign(job)])
    evaluate._work(Hangs(), [job], outcome, lambda line: None, watchdog, Names(), frozenset())
    assert patience == 60.0 and "no sign of life for 60 s while it was measured" in outcome.failed["t"]


def test_out_of_memory_beside_others_is_measured_again_alone_and_alone_in_smaller_batches(tmp_path, monkeypatch):
    """As `ablate run` does with trials: none of the measurements fails."""
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    once = tmp_path / "once"
    once.touch()  # while they are trained the trap is harmless
    crowded = {"type": "probe", "trap": "sample_crowded", "once": str(once), "sample_room": 4}
    spec = {**STUDY, "vary": {"backbone": ["probe", crowded]}, "budget": {"steps": 2}}
    spec["base"] = {"backbone": "probe", "solver": {"type": "ddim", "steps": 1}, "batch": 16}
    spec["evaluate"] = {"metrics": [{"type": "kid", "features": "pixels"}], "samples": 4, "previews": 0}
    launch({**spec, "executor": {"type": "local", "in_process": True}}, out=tmp_path / "study", figures=False)
    once.unlink()
    pools, lines = [], []

    def start(self, work, device):
        pools.append(Crowd(InProcessPool(work)))  # its numbers are not looked at
        return pools[-1]

    monkeypatch.setattr(Local, "start", start)
    outcome = remeasure(tmp_path / "study", Request(samples=8), executor="local", say=lines.append)
    assert (outcome.measured, outcome.failed) == (2, {})
    assert sum("out of memory beside others; again later, alone" in line for line in lines) == 1
    assert sum("out of memory; 4 samples at a time" in line for line in lines) == 1
    assert [beside for _, beside in pools[0].log] == [1, 2, 1, 1]
    assert {row["samples"] for row in outcome.rows} == {8}


def test_a_front_of_what_a_sample_costs_goes_along_evaluations_and_guidance(folder):
    assert again(folder, nfe=[2]).measured == 2
    outcome = again(folder, nfe=[2, 6])
    assert (outcome.measured, outcome.reused) == (2, 2), "nothing is measured twice"
    results = load(folder)
    table = results.front(["kid", "sample_gflops"], along=["nfe"])
    each = table["sample_gflops"] / table["nfe"]
    assert each.round(9).nunique() == 2 and set(table["nfe"]) == {2, 3, 6}, (
        "two networks; a cost in step with the calls"
    )
    assert set(results.trials["sample_gflops"]) == set(table.loc[table["nfe"] == 3, "sample_gflops"])
    assert "sample_gflops" in results.front(["kid", "gflops"], along=["nfe"]).attrs["note"]


def test_a_study_that_was_measured_during_training_is_measured_again_at_its_end(tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    folder = tmp_path / "study"
    evaluate_at = {**STUDY["evaluate"], "at": [0.25, 1.0], "at_samples": 6}
    launch({**STUDY, "evaluate": evaluate_at}, out=folder, executor="local", figures=False)
    before = load(folder)
    assert before.metrics.groupby("trial", observed=True)["images"].apply(sorted).tolist() == [[96, 384, 384]] * 2
    outcome = again(folder)
    assert (outcome.measured, outcome.reused, len(outcome.rows)) == (0, 2, 2), "the rows of the end, on all samples"
    assert again(folder, samples=6).measured == 2
    after = load(folder)
    assert len(after.metrics) == len(before.metrics), "drawn alike: the values are those of the curve's end"
    assert after.warnings == before.warnings == []
    assert after.time_to_quality().equals(before.time_to_quality())
    launch({**STUDY, "evaluate": {**evaluate_at, "at": [0.5]}}, out=folder, executor="local", figures=False)
    assert len(load(folder).metrics) == len(before.metrics), "points decide no identity: the trials are complete"
