"""The engine on a real pool: failures by their class, and memory that does not suffice."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from crowd_for_tests import Crowd
from optuna.trial import TrialState
from studies_for_tests import Driver, ledger, marks, search, study, trials

from ablate.candidates.candidate import Candidate
from ablate.candidates.flops import Cost
from ablate.candidates.trial import TrialSettings
from ablate.engine import CheckedPool, Engine, Watchdog, dispatch
from ablate.engine.ledger import WORST
from ablate.engine.watchdog import LATE
from ablate.errors import InputError, Problem, SpecError
from ablate.execute.local import Local
from ablate.kinds.executor import Limits, Pool
from ablate.runtime import patient
from ablate.study.building import building, check_limits
from ablate.study.launch import plan_of


def test_a_plugin_that_raises_fails_its_trial_alone_and_is_tried_again(tmp_path: Path) -> None:
    once = tmp_path / "once"
    trap = {"type": "probe", "width": 8, "trap": "raise", "step": 2, "once": str(once)}
    spec = study(vary={"backbone": ["probe", trap]}, design={"type": "one_factor", "seeds": 1})
    folder = tmp_path / "study"
    driver = Driver(folder, spec)
    outcome = driver.run()
    assert (outcome.measured, outcome.failed) == (1, 1)
    ((trial, failure),) = trials(folder, "failure.json").items()
    assert failure["state"] == failure["class"] == "failed" and failure["attempts"] == 1
    assert failure["message"] == "RuntimeError: a wire is loose"
    assert (
        "probes_for_tests.py" in failure["traceback"]
        and 'raise RuntimeError("a wire is loose")' in failure["traceback"]
    )
    assert failure["trial"] == trial and failure["params"] > 0 and failure["gflops"] > 0
    assert [t.state for t in ledger(folder)] == [TrialState.COMPLETE, TrialState.FAIL]
    assert any("failed: RuntimeError: a wire is loose" in line for line in driver.lines)
    assert not [line for line in driver.lines if re.match(r"[0-9a-f]{12}-s\d", line)]  # a name and a seed, no hash
    before = marks(folder)
    outcome = Driver(folder, spec).run()  # the trap has sprung: now it works
    assert (outcome.measured, outcome.reused, outcome.failed) == (1, 1, 0)
    assert trials(folder, "failure.json") == {} and set(before.items()) < set(marks(folder).items())


def test_a_network_that_cannot_be_built_fails_its_trials_with_a_traceback(tmp_path: Path) -> None:
    spec = study(vary={"backbone": ["probe", {"type": "probe", "trap": "build"}]})
    outcome = Driver(tmp_path, spec).run()
    assert (outcome.measured, outcome.failed) == (2, 2)
    failures = trials(tmp_path, "failure.json")
    assert len(failures) == 2
    for failure in failures.values():
        reason = r"ZeroDivisionError: heads do not divide nought \(.*probes_for_tests\.py:\d+\)"
        assert re.fullmatch(f"backbone 'probe' cannot be built: {reason}", failure["message"])
        assert "probes_for_tests.py" in failure["traceback"] and failure["gflops"] is None


def test_a_network_whose_build_would_end_the_driver_fails_its_trial_alone(tmp_path: Path) -> None:
    traps = [{"type": "probe", "trap": trap} for trap in ("leave", "exit", "cancel")]
    outcome = Driver(
        tmp_path, study(vary={"backbone": ["probe", *traps]}, design={"type": "one_factor", "seeds": 1})
    ).run()
    assert (outcome.measured, outcome.failed) == (1, 3)
    reasons = ["CancelledError", "SystemExit: 0", "SystemExit: 0"]
    failures = sorted(failure["message"] for failure in trials(tmp_path, "failure.json").values())
    for message, reason in zip(failures, reasons, strict=True):
        assert re.fullmatch(rf"its code ends the process: {reason} \(.*probes_for_tests\.py:\d+\); .*", message)


def test_a_network_that_takes_long_to_build_is_named_while_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver counts each network before its trials run: a build that waits for ever would say nothing."""
    driver, reported = Driver(tmp_path, study(vary={"backbone.width": [4, 8]})), threading.Event()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("still building the network of width=8 …"):
            reported.set()

    def slow(trial_settings: TrialSettings, candidate: Candidate) -> Cost:
        if candidate.backbone.width == 8:
            assert reported.wait(60), "nothing was said"
        raise ValueError("a wire is loose")

    monkeypatch.setattr(patient, "SECONDS", 0.001)
    monkeypatch.setattr(TrialSettings, "cost", slow)
    plan = dataclasses.replace(plan_of(driver.loaded, tmp_path, "cpu"), say=say)
    with Local(in_process=True).start("ablate.worker.trial_run:run", "cpu") as pool:
        assert Engine(plan, pool).run().failed > 0
    assert any(line.startswith("still building the network of width=8 …") for line in lines)


def test_what_failed_is_not_tried_again_by_the_same_search(tmp_path: Path) -> None:
    spec = search(algorithm="random", trials=6)  # there are two
    spec["base"]["backbone"] = {"type": "probe", "trap": "raise"}
    spec["vary"] = {"backbone.knack": ["none", "half"]}
    outcome = Driver(tmp_path, spec).run()
    assert (outcome.measured, outcome.failed) == (0, 2)  # each of the two tried once
    assert [trial.state for trial in ledger(tmp_path) if "repeat" not in trial.user_attrs] == [TrialState.FAIL] * 2


@pytest.mark.parametrize("design", [{"algorithm": "nsga2", "population": 3}, {"algorithm": "tpe"}])
def test_diverged_candidates_are_the_worst_and_the_search_goes_on(tmp_path: Path, design: dict[str, Any]) -> None:
    spec = search(trials=14, **design)
    spec["vary"] = {"backbone.knob": {"low": 0, "high": 1}, "backbone.bad": [0, 1]}
    outcome = Driver(tmp_path, spec).run()
    entries = [trial for trial in ledger(tmp_path) if "repeat" not in trial.user_attrs]
    worst = [trial for trial in entries if trial.params["backbone.bad"]]
    assert 0 < len(worst) < 14 and outcome.diverged > 0 and outcome.failed == 0
    assert all(trial.values == [WORST, WORST] and trial.state == TrialState.COMPLETE for trial in worst)
    again = Driver(tmp_path, spec).run()
    assert (again.measured, again.diverged) == (0, outcome.diverged)


def test_refused_candidates_of_a_search_are_replaced_by_others(tmp_path: Path) -> None:
    spec = search(algorithm="random", trials=12)
    spec["base"]["target"] = "v"
    spec["vary"] = {"schedule.zero_terminal_snr": [False, True], "solver.grid": ["trailing", "karras"]}
    driver = Driver(tmp_path, spec)
    outcome = driver.run()
    (refused,) = [trial for trial in ledger(tmp_path) if "refused" in trial.user_attrs]
    assert refused.params == {"schedule.zero_terminal_snr": True, "solver.grid": "karras"}
    assert "karras" in refused.user_attrs["refused"] and refused.state == TrialState.FAIL
    assert (outcome.measured, outcome.failed, outcome.refused) == (3, 0, 1)
    assert sum("refused" in line and "karras" in line for line in driver.lines) == 1
    assert outcome.short is not None and "beside 1 that are refused" in outcome.short
    before = len(ledger(tmp_path))
    again = Driver(tmp_path, spec).run()
    assert (again.measured, again.refused, again.short) == (0, 0, outcome.short)
    assert len(ledger(tmp_path)) == before


def test_what_a_search_comes_to_and_costs_too_much_is_not_trained(tmp_path: Path) -> None:
    """The baseline of width 4 breaks the constraint as well, and is trained: others are compared with it."""
    spec = search(algorithm="random", trials=8)
    spec |= {"vary": {"backbone.width": [2, 4, 8]}, "constraints": {"params": {"at_most": 100}}}
    driver = Driver(tmp_path, spec)
    outcome = driver.run()
    entries = ledger(tmp_path)
    refused = [trial for trial in entries if "refused" in trial.user_attrs]
    assert outcome.refused == len(refused) == 1
    assert {r["choices"]["backbone.width"] for r in trials(tmp_path).values()} == {2, 4}
    assert {8} == {trial.params["backbone.width"] for trial in refused}
    assert all("params of" in trial.user_attrs["refused"] for trial in refused)
    again = Driver(tmp_path, spec).run()
    assert (again.measured, again.refused) == (0, 0) and len(ledger(tmp_path)) == len(entries)


def test_a_search_in_which_nothing_goes_together_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(tmp_path, search(algorithm="random", trials=2))

    def never(self: Any, assignment: Any) -> Any:
        raise SpecError([Problem((), "never")])

    monkeypatch.setattr(type(driver.loaded), "candidate", never)
    outcome = driver.run()
    assert outcome.measured == 0 and 2 * 20 < outcome.refused <= 2 * 20 + 3


def test_data_that_cannot_be_prepared_are_one_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could not be prepared: PermissionError: the archive is locked"):
        Driver(tmp_path, study(data="unreadable")).run()
    assert trials(tmp_path) == trials(tmp_path, "failure.json") == {}


def test_full_disk_ends_the_study_and_blames_no_trial(tmp_path: Path) -> None:
    once = tmp_path / "once"
    spec = study(vary={"backbone": ["probe", {"type": "probe", "trap": "full", "once": str(once)}]})
    folder = tmp_path / "study"
    with pytest.raises(OSError, match="No space left on device") as raised:
        Driver(folder, spec).run()
    assert raised.value.errno == 28 and str(folder) in raised.value.filename
    assert trials(folder, "failure.json") == {}
    outcome = Driver(folder, spec).run()
    assert (outcome.measured, outcome.reused, outcome.failed) == (2, 2, 0)


@pytest.mark.parametrize("damage", ["nonsense", "folder"])
def test_a_ledger_that_cannot_be_used_is_one_message(tmp_path: Path, damage: str) -> None:
    if damage == "folder":
        (tmp_path / "optuna.db").mkdir()
    else:
        (tmp_path / "optuna.db").write_text("this is no database" * 100)
    with pytest.raises(InputError, match=r"optuna\.db: .*give the same command again"):
        Driver(tmp_path, study()).run()


# --- code that ends or hangs its worker ----------------------------------------------------------


def test_silence_is_counted_from_a_workers_first_sign(tmp_path: Path) -> None:
    now = [0.0]
    watchdog, jobs = Watchdog(60.0, lambda: now[0]), {"one": {"job": "one", "folder": str(tmp_path)}}
    (tmp_path / "progress.json").write_text("of an earlier run")
    watchdog.begun(jobs["one"])
    now[0] = 1e6
    assert watchdog.silent(jobs) == {}  # it waits for a worker
    (tmp_path / "job.json").write_text("{}")
    now[0] += 50
    assert watchdog.silent(jobs) == {}
    now[0] += 59
    assert watchdog.silent(jobs) == {}
    (tmp_path / "progress.json").unlink()
    (tmp_path / "progress.json").write_text("of this run")
    now[0] += 59
    assert watchdog.silent(jobs) == {}
    now[0] += 61
    assert watchdog.silent(jobs) == {"one": 61}
    assert watchdog.silent(jobs) == {}  # said once
    assert Watchdog(None).silent(jobs) == {}


def test_a_trial_that_takes_longer_than_it_may_is_ended(tmp_path: Path) -> None:
    """However much it tells; the clock starts with its first sign of life."""
    now = [0.0]
    watchdog, jobs = Watchdog(60.0, lambda: now[0], limit=100.0), {"one": {"job": "one", "folder": str(tmp_path)}}
    watchdog.begun(jobs["one"])
    for now[0] in (1000.0, 1050.0, 1099.0):
        (tmp_path / "job.json").unlink(missing_ok=True)
        (tmp_path / "job.json").write_text("{}")
        assert watchdog.to_end(jobs) == {}
    now[0] = 1106.0
    assert watchdog.to_end(jobs) == {"one": (LATE, 100.0)}
    assert watchdog.to_end(jobs) == {}


@pytest.mark.parametrize("trap", ["build_hang", pytest.param("build_segfault", marks=pytest.mark.thorough)])
def test_a_network_whose_build_hangs_or_crashes_fails_its_trial_alone(tmp_path: Path, trap: str) -> None:
    """Each is built in another process first."""
    spec = study(
        vary={"backbone": ["probe", {"type": "probe", "trap": trap}]}, design={"type": "one_factor", "seeds": 1}
    )
    driver = Driver(tmp_path, spec)
    plan = plan_of(driver.loaded, tmp_path, "cpu")
    with (
        Local(in_process=True).start("ablate.worker.trial_run:run", "cpu") as pool,
        building(Limits(build="3s"), plan) as guarded,
    ):
        outcome = Engine(guarded, CheckedPool(pool, "local")).run()
    failures = list(trials(tmp_path, "failure.json").values())
    assert (outcome.measured, outcome.failed) == (1, 1), failures
    (failure,) = failures
    why = (
        "not done after 3s: `executor.limits.build`" if trap == "build_hang" else "it crashed in native code [SIGSEGV]"
    )
    assert why in failure["message"] and "probes_for_tests.py" in failure["message"]


def test_a_limit_below_a_checkpoint_is_refused() -> None:
    check_limits(Local(limits={"trial": "2h", "memory": "20GiB", "build": 60}))
    with pytest.raises(InputError, match=r"limits\.trial: is 50s, and a trial writes its first checkpoint after 1min"):
        check_limits(Local(limits={"trial": 50}))


# --- memory --------------------------------------------------------------------------------------


def test_too_large_alone_halves_the_micro_batch(tmp_path: Path) -> None:
    base = {"type": "probe", "room": 5}
    driver = Driver(tmp_path, study(**{"base.backbone": base, "vary": {}, "design.seeds": 1}))
    outcome = driver.run()
    (record,) = trials(tmp_path).values()
    assert (outcome.measured, outcome.failed, record["micro"]) == (1, 0, 4)
    assert [line for line in driver.lines if "micro-batch" in line][-1].endswith("micro-batch 4, the same batch in all")
    assert record["images"] == 2 * 16


def test_too_many_samples_at_a_time_are_drawn_in_smaller_batches(tmp_path: Path) -> None:
    """The training is not repeated, its micro-batch stays, and the values are those of a smaller `evaluate.batch`."""
    changes = {"base.backbone": {"type": "probe", "sample_room": 3}, "vary": {}, "design.seeds": 1}
    driver = Driver(tmp_path / "halved", study(**changes))
    assert (driver.run().measured, len([line for line in driver.lines if "2 samples at a time" in line])) == (1, 1)
    assert Driver(tmp_path / "small", study(**changes, **{"evaluate.batch": 2})).run().measured == 1
    halved, small = (next(iter(trials(tmp_path / name).values())) for name in ("halved", "small"))
    assert (halved["config_hash"], halved["metrics"]) == (small["config_hash"], small["metrics"])
    assert "micro" not in halved


def test_one_image_that_is_too_large_is_a_failure(tmp_path: Path) -> None:
    spec = study(**{"base.backbone": {"type": "probe", "room": 1}, "vary": {}, "design.seeds": 1})
    spec["evaluate"] = {"samples": 1, "previews": 0}
    spec["objectives"] = ["loss"]
    assert Driver(tmp_path / "one", spec).run().measured == 1
    spec["base"]["backbone"] = {"type": "probe", "trap": "crowded"}  # whatever the batch
    outcome = Driver(tmp_path / "none", spec).run()
    (failure,) = trials(tmp_path / "none", "failure.json").values()
    assert outcome.failed == 1 and failure["class"] == "oom"


def test_out_of_memory_beside_others_is_tried_again_alone(tmp_path: Path, worker: Pool) -> None:
    crowded = {"type": "probe", "trap": "crowded", "once": str(tmp_path / "once")}
    spec = study(vary={"backbone": ["probe", crowded, {"type": "probe", "width": 2}]})
    crowd = Crowd(worker)
    driver = Driver(tmp_path / "study", spec, crowd)
    outcome = driver.run()
    assert (outcome.measured, outcome.failed) == (6, 0)
    (again,) = {job for job, _ in crowd.log if [other for other, _ in crowd.log].count(job) == 2}
    assert [beside for job, beside in crowd.log if job == again][1] == 1  # alone
    assert any("out of memory beside others; again later, alone" in line for line in driver.lines)
    assert "micro" not in trials(tmp_path / "study")[again]
    assert max(beside for _, beside in crowd.log) == 2


# --- last, since it leaves no worker to those that share it -------------------------------------------


@pytest.mark.slow
def test_nothing_that_a_plugin_does_ends_the_driver_or_keeps_it_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: Pool
) -> None:
    """One process beside the driver; the trial that hangs says so, and then an hour passes at every look."""
    monkeypatch.setattr(dispatch, "RETRIES", 0)
    hung = tmp_path / "hung"
    traps = [{"type": "probe", "trap": trap} for trap in ("interrupt", "segfault")]
    hang = {"type": "probe", "trap": "hang", "once": str(hung)}
    spec = study(vary={"backbone": ["probe", *traps, hang]}, design={"type": "one_factor", "seeds": 1})
    looks = count()
    watchdog = Watchdog(1800.0, lambda: time.monotonic() + (3600 * next(looks) if hung.exists() else 0))
    driver = Driver(tmp_path / "study", spec, worker, watchdog)
    outcome = driver.run()
    assert (outcome.measured, outcome.failed) == (1, 3)
    failures = {f["choices"]["backbone"]: f for f in trials(tmp_path / "study", "failure.json").values()}
    assert {name.split("trap=")[1].strip(")").split(",")[0]: f["class"] for name, f in failures.items()} == {
        "interrupt": "failed",
        "segfault": "lost",
        "hang": "failed",
    }
    for name, failure in failures.items():
        assert "probes_for_tests.py" in failure["traceback"], name
        if "hang" in name:
            assert re.match(r"no sign of life for \d{4,} s in phase 'start'", failure["message"])
