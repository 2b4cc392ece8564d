"""Fidelities: candidates pause at rungs, those that do well go on, and nothing is lost or measured twice."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crowd_for_tests import Crowd
from optuna.trial import TrialState
from segments_for_tests import timeless
from studies_for_tests import Driver, ledger, marks, results, study, trials
from test_resume import Killed, asked, killed_at

import ablate
from ablate.errors import InputError
from ablate.execute.local import Local
from ablate.kinds.executor import Pool
from ablate.results import load, write_tables
from ablate.study import lock
from ablate.study.load import load_study
from ablate.study.points import check_points
from ablate_zoo.fidelity.pareto_asha import ParetoAsha

HALVING = {"type": "pareto_asha", "first": 0.25, "factor": 2, "by": "bands", "bands": 1}


def halved(count: int = 6, fidelity: Any = HALVING, seeds: int = 1, **changes: Any) -> dict[str, Any]:
    """A study of so many candidates whose knob decides how good they are; measured at a quarter and a half."""
    spec = study(
        **{
            "vary": {"backbone.width": [2, 3, 4, 5, 6, 8][:count]},
            "design": {"type": "grid", "seeds": seeds},
            "budget": {"steps": 8},
            "evaluate.samples": 40,
            "evaluate.batch": 40,
            "evaluate.previews": 4,
            **changes,
        }
    )
    at = {"at": [0.25, 0.5]} if fidelity == "none" else {}
    return {**spec, "fidelity": fidelity, "evaluate": {**spec["evaluate"], "at_samples": 20, **at}}


def pauses(folder: Path) -> dict[str, dict[str, Any]]:
    return trials(folder, "paused.json")


def paused(folder: Path) -> dict[str, Any]:
    """Records of what is paused, without what a clock decides."""
    return {trial: timeless(record) for trial, record in pauses(folder).items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study with `pareto_asha`, run without a disturbance."""
    folder = tmp_path_factory.mktemp("halved")
    Driver(folder, halved()).run()
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same candidates, all trained to the end, measured at the same points."""
    folder = tmp_path_factory.mktemp("full")
    Driver(folder, halved(fidelity="none")).run()
    return folder


def test_who_is_paused_and_goes_on_is_trained_as_if_it_had_never_stopped(whole: Path, full: Path) -> None:
    """To the bit: the record, its points, the samples and the curve."""
    ended, to_the_end = trials(whole), trials(full)
    assert 1 < len(ended) < len(to_the_end) == 6
    for trial, record in ended.items():
        assert timeless(record) == timeless(to_the_end[trial])
        for name in ("samples.npy", "samples.png"):
            assert (whole / "trials" / trial / name).read_bytes() == (full / "trials" / trial / name).read_bytes()
    for trial, pause in pauses(whole).items():
        points = [row for row in to_the_end[trial]["metrics"] if row["images"] <= pause["images"]]
        assert pause["state"] == "paused" and pause["metrics"] == points and points


def test_each_rung_lets_its_best_go_on(whole: Path, full: Path) -> None:
    """The best of those that came to a rung goes on, and the worst does not; the baseline is trained to the end."""
    ended, stopped_early = trials(whole), pauses(whole)
    assert set(ended) | set(stopped_early) == set(trials(full)) and not set(ended) & set(stopped_early)
    baseline = next(trial for trial, record in trials(full).items() if record["choices"] == {"backbone.width": 4})
    assert baseline in ended
    shares = {trial: max(record["shares"], key=float) for trial, record in stopped_early.items()}
    for share, beyond in (("0.25", "0.5"), ("0.5", "1")):
        came = {t: value_at(r, share) for t, r in trials(full).items() if t in ended or shares[t] >= share}
        del came[baseline]
        went_on = {t for t in came if t in ended or shares[t] >= beyond}
        best, worst = min(came, key=came.__getitem__), max(came, key=came.__getitem__)
        assert best in went_on and worst not in went_on and len(went_on) >= len(came) // 2


def value_at(record: dict[str, Any], share: str) -> float:
    images = record["shares"][share]["images"]
    return next(row["value"] for row in record["metrics"] if row["images"] == images)


def test_what_is_paused_says_so_and_is_on_no_front(whole: Path) -> None:
    write_tables(whole)
    found = load(whole)
    states = found.trials.set_index("trial")["state"]
    assert dict(states) == dict.fromkeys(trials(whole), "complete") | dict.fromkeys(pauses(whole), "paused")
    front = found.front(["kid", "gflops"])
    assert not front.loc[front["paused"] > 0, "on_front"].any() and front["paused"].sum() == len(pauses(whole))
    assert front.loc[front["paused"] > 0, "kid_pixels"].isna().all()
    curves = found.curves.dropna(subset=["m.kid_pixels"])
    assert set(curves["trial"]) == set(states.index)
    assert "paused before the end" in str(found.summary()) and "0 + 1 paused" in str(found.summary())
    assert found.time_to_quality()["reached"].sum() >= 1


def test_a_search_learns_what_candidates_reach_at_the_first_rung(whole: Path, full: Path) -> None:
    """The ledger has the values of one share of the budget for all candidates, and says so."""
    values = {trial.params["backbone.width"]: trial.values[0] for trial in ledger(whole)}
    at_first = {r["choices"]["backbone.width"]: value_at(r, "0.25") for r in trials(full).values()}
    assert values == pytest.approx(at_first)
    again = Driver(whole, halved())
    before = marks(whole)
    again.run()
    assert marks(whole) == before and not any("told other values" in line for line in again.lines)


@pytest.mark.slow
def test_killed_at_any_commit_it_stops_and_promotes_as_without(tmp_path: Path, whole: Path, thorough: bool) -> None:
    """Between a measurement and the note of it, between a promotion and the run of it, at the end."""
    with killed_at(-1) as counted:
        Driver(tmp_path / "counted", halved()).run()
    gc.freeze()
    for number in range(counted[0] - 34, counted[0] + 1, 3 if thorough else 14):
        place = tmp_path / str(number)
        with killed_at(number), pytest.raises(Killed):
            Driver(place, halved()).run()
        gc.collect()
        before = marks(place)
        Driver(place, halved()).run()
        assert results(place) == results(whole), number
        assert paused(place) == paused(whole), number
        assert asked(place) == asked(whole), number
        after = marks(place)
        assert {trial: after[trial] for trial in before} == before, number
        shutil.rmtree(place)


class StopError(Exception):
    pass


class StoppingPool(Pool):
    """Stops everything when the second trial goes on from where it was paused."""

    slots = 1

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.begun: list[str] = []

    def submit(self, job: Any) -> None:
        self.begun.append(job["job"])
        if len(self.begun) - len(set(self.begun)) == 2:
            raise StopError
        self.pool.submit(job)

    def wait(self, timeout: float) -> Any:
        return self.pool.wait(timeout)

    def close(self) -> None:
        self.pool.close()


def test_stopped_after_a_promotion_it_goes_on_with_it(tmp_path: Path, whole: Path) -> None:
    with Local(in_process=True).start("ablate.worker.trial_run:run", "cpu") as pool, pytest.raises(StopError):
        Driver(tmp_path, halved(), StoppingPool(pool)).run()
    gc.collect()
    assert len(trials(tmp_path)) < len(trials(whole))
    Driver(tmp_path, halved()).run()
    assert results(tmp_path) == results(whole) and paused(tmp_path) == paused(whole)


def test_freeze_thaw_continues_exactly_and_decides_alike_after_a_stop(tmp_path: Path, full: Path) -> None:
    spec = halved(fidelity={"type": "freeze_thaw", "at": [0.25, 0.5]})
    Driver(tmp_path / "whole", spec).run()
    ended = trials(tmp_path / "whole")
    assert len(ended) > 1 and pauses(tmp_path / "whole")
    for trial, record in ended.items():
        assert timeless(record) == timeless(trials(full)[trial])
    with Local(in_process=True).start("ablate.worker.trial_run:run", "cpu") as pool, pytest.raises(StopError):
        Driver(tmp_path / "cut", spec, StoppingPool(pool)).run()
    gc.collect()
    assert len(trials(tmp_path / "cut")) < len(ended)
    Driver(tmp_path / "cut", spec).run()
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    assert paused(tmp_path / "cut") == paused(tmp_path / "whole")


def test_with_several_workers_and_seeds_every_measurement_is_the_same(tmp_path: Path, full: Path, worker: Pool) -> None:
    """Who goes on may differ, since nobody waits for anybody; what is measured does not."""
    driver = Driver(tmp_path, halved(seeds=2), Crowd(worker))
    outcome = driver.run()
    assert outcome.failed == 0
    stopped, ended, expected = pauses(tmp_path), trials(tmp_path), trials(full)
    assert len(stopped) + len(ended) == 12 and ended
    for trial, record in ended.items():
        if trial in expected:
            assert timeless(record)["metrics"] == timeless(expected[trial])["metrics"]
    groups: dict[str, set[str]] = {}
    for trial, record in [*stopped.items(), *ended.items()]:
        groups.setdefault(trial.split("-")[0], set()).add(f"{record['state']} {record['images']}")
    assert all(len(states) == 1 for states in groups.values())  # seeds of a candidate go on together
    assert driver.progress[-1].paused == len(stopped)


def test_a_candidate_that_diverged_is_not_let_go_on(tmp_path: Path) -> None:
    """Nor is one whose samples are not finite at its rung: it has no value to be compared by."""
    spec = halved(vary={"backbone.step": [100, 1, 101, 102], "backbone.trap": ["loss_nan", "sample_nan"]})
    spec["base"]["backbone"] = {"type": "probe", "trap": "loss_nan", "step": 100}
    driver = Driver(tmp_path, spec)
    driver.run()
    ended, stopped = trials(tmp_path), pauses(tmp_path)
    assert [r["choices"] for r in ended.values() if r["state"] == "diverged"] == [
        {"backbone.step": 1, "backbone.trap": "loss_nan"}
    ]
    unmeasured = [r for r in stopped.values() if "unmeasured" in r]
    assert len(unmeasured) == 4 and {r["choices"]["backbone.trap"] for r in unmeasured} == {"sample_nan"}
    assert all(max(r["shares"], key=float) == "0.25" for r in unmeasured)
    complete = [r["choices"]["backbone.trap"] for r in ended.values() if r["state"] == "complete"]
    assert set(complete) == {"loss_nan"} and len(complete) >= 2  # the baseline, and the best of the others
    states = {trial.params["backbone.trap"]: trial.state for trial in ledger(tmp_path)}
    assert states["sample_nan"] == TrialState.FAIL


def test_without_rungs_all_go_on_to_the_end(tmp_path: Path, whole: Path, full: Path) -> None:
    """A study whose candidates were stopped early can be trained out; the other way is refused."""
    shutil.copytree(whole, tmp_path / "copy")
    Driver(tmp_path / "copy", halved(fidelity="none")).run()
    assert not pauses(tmp_path / "copy")
    values = {trial: record["metrics"][0]["value"] for trial, record in trials(tmp_path / "copy").items()}
    assert values == {trial: record["metrics"][0]["value"] for trial, record in trials(full).items()}


def test_other_rungs_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    lock.write(tmp_path, load_study(halved()))
    lock.check(tmp_path, load_study(halved()))
    lock.check(tmp_path, load_study(halved(fidelity="none")))
    with pytest.raises(InputError, match=r"pause at 0.25, 0.5 of their budget.*they would at 0.3333"):
        lock.check(tmp_path, load_study(halved(fidelity="asha")))


def test_a_folder_keeps_the_rungs_of_its_first_launch_where_a_study_leaves_them_to_a_default(tmp_path: Path) -> None:
    """Another version may have another default; what the study says itself counts."""
    begun = {"type": "asha", "first": 0.25, "factor": 2.0}
    spec = {**halved(3), "executor": {"type": "local", "in_process": True}}
    ablate.run({**spec, "fidelity": begun}, out=tmp_path, device="cpu", figures=False)
    before = marks(tmp_path)
    for fidelity in ("asha", {"type": "asha", "factor": 2}):
        ablate.run({**spec, "fidelity": fidelity}, out=tmp_path, device="cpu", figures=False)
        assert marks(tmp_path) == before
    with pytest.raises(InputError, match=r"pause at 0.25, 0.5 of their budget.*they would at 0.5"):
        ablate.run({**spec, "fidelity": {"type": "asha", "first": 0.5}}, out=tmp_path, device="cpu", figures=False)


def test_a_rung_within_the_warm_up_is_warned_of() -> None:
    def warned(warmup: int) -> list[str]:
        return check_points(load_study(halved(**{"base.optimizer": {"type": "adamw", "warmup": warmup}})))

    (warning,) = warned(64)
    assert warning.startswith(
        "fidelity 'pareto_asha': its first rung, after 32 of 128 images, lies within a warm-up of 64"
    )
    assert warned(32) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["gflops", "params"]}, "decides by what is measured, and no objective is"),
        ({"objectives": ["kid", "seconds"]}, "'seconds' is known at the end of a trial alone"),
        ({"constraints": {"peak_memory_bytes": {"at_most": 1e9}}}, "known at the end of a trial alone"),
        ({"evaluate": {"samples": 4, "previews": 0}, "objectives": ["loss"]}, "evaluate.metrics is empty"),
        ({"evaluate": {**halved()["evaluate"], "every": 32}}, "say evaluate.at in place of evaluate.every"),
        ({"evaluate": {**halved()["evaluate"], "at_samples": 1}}, "as many are drawn as at_samples says"),
        ({"fidelity": "none", "evaluate": {**halved()["evaluate"], "at_samples": 9}}, "say at or every"),
        ({"fidelity": {"type": "asha", "first": 1.5}}, "less than 1"),
        ({"fidelity": {"type": "asha", "first": 1e-9, "factor": 1.5}}, "more than 20 rungs"),
        ({"fidelity": "successive"}, "there is no fidelity 'successive'"),
    ],
)
def test_what_no_fidelity_can_decide_by_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study({**halved(), **changes})


def test_a_rung_shorter_than_a_step_is_refused_before_any_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"its first rung, 0.25 of 32 images, is less than one step of 16"):
        ablate.run(halved(budget={"steps": 2}), out=tmp_path / "out", executor="local")
    assert not (tmp_path / "out").exists()


def test_a_fidelity_is_told_what_candidates_come_to_at_the_end(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On as many samples as at the rungs; nothing of those that are still on the way."""
    given: list[Any] = []
    promote = ParetoAsha.promote
    monkeypatch.setattr(
        ParetoAsha, "promote", lambda self, rungs, closing: (given.append(rungs), promote(self, rungs, closing))[1]
    )
    Driver(tmp_path, halved()).run()
    ended = [record for record in trials(tmp_path).values() if record["choices"] != {"backbone.width": 4}]
    ends = [[r for r in record["metrics"] if r["images"] == record["images"]] for record in ended]
    expected = [row["value"] for rows in ends for row in rows if row["samples"] == 20]
    assert len(expected) == len(ended) > 0
    for rung in given[-1]:
        found = rung.end[:, 0]
        assert sorted(found[np.isfinite(found)]) == sorted(expected)
        assert np.isnan(found).sum() == len(rung.numbers) - len(ended)
    assert np.isnan(given[0][0].end).all()


def test_an_objective_at_a_share_of_the_budget() -> None:
    from ablate.candidates.objectives import Objective

    record = {
        "gflops": 2.0,
        "loss": 0.1,
        "metrics": [{"metric": "kid", "images": 8, "value": 1.0}, {"metric": "kid", "images": 4, "value": 3.0}],
        "shares": {"0.5": {"images": 4, "loss": 0.4, "train_seconds": 1.5}},
    }
    values = {name: Objective(name, name).value_at(record, 0.5) for name in ("gflops", "loss", "kid", "train_seconds")}
    assert values == {"gflops": 2.0, "loss": 0.4, "kid": 3.0, "train_seconds": 1.5}
    assert np.isnan(Objective("kid", "kid").value_at(record, 0.25) or np.nan)
