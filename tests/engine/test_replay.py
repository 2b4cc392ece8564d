"""`executor: replay`: a study on a recorded table asks, stops and finds what it does when everything is trained."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from segments_for_tests import timeless
from studies_for_tests import Driver, asked, results, trials
from test_fidelities import HALVING, halved, paused, pauses

import ablate
from ablate.engine.ledger import Ledger
from ablate.errors import InputError
from ablate.execute.replay import Replay
from ablate.results import load, write_tables
from ablate.study import lock
from ablate.study.load import load_study
from ablate.worker import records
from ablate.worker.recorded import RecordedTable, rows_of, write

REPLAYED = ("replayed", "simulated_end", "host")


def trained(folder: Path, spec: dict[str, Any]) -> Path:
    """Train a study, with its lock."""
    driver = Driver(folder, spec)
    lock.write(folder, driver.loaded)
    driver.run()
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six candidates, one of them with three seeds, trained to their ends and measured at a quarter and a half."""
    return trained(tmp_path_factory.mktemp("recorded") / "full", halved(fidelity="none"))


@pytest.fixture(scope="module")
def table(full: Path) -> Path:
    seeds = halved(count=3, fidelity="none", seeds=2, **{"design.first_seed": 1})
    more = trained(full.parent / "seeds", seeds)
    ablate.record([full, more], full.parent / "table.parquet")
    return full.parent / "table.parquet"


def replay(folder: Path, table: Path, spec: dict[str, Any], workers: int = 1) -> tuple[Driver, float]:
    """Replay a study; what was told, and the clock at its end."""
    with Replay(table=str(table), workers=workers).start("", "cpu") as pool:
        driver = Driver(folder, spec, pool)
        driver.run()
        return driver, pool.clock


def without(records: dict[str, Any]) -> dict[str, Any]:
    """Records without what tells a replayed one apart."""
    return {trial: {k: v for k, v in record.items() if k not in REPLAYED} for trial, record in records.items()}


def test_a_table_holds_what_was_measured_to_the_bit(full: Path, table: Path) -> None:
    frame = ablate.recorded(table)
    assert len(frame) == 12 * 4 and frame.attrs["points"] == ["0.25", "0.5"] and frame.attrs["seeds"] == [0, 1, 2]
    assert frame.attrs["study"]["study"] == "probes" and frame.attrs["candidates"] == 6
    for trial, record in trials(full).items():
        rows = frame[(frame["config_hash"] == record["config_hash"]) & (frame["seed"] == 0)]
        assert rows["c.backbone.width"].unique() == record["choices"]["backbone.width"]
        assert sorted(rows["value"]) == sorted(row["value"] for row in record["metrics"]), trial
        assert rows["share"].tolist() == [0.25, 0.5, 1, 1] and rows["samples"].tolist() == [20, 20, 40, 20]
        assert rows["train_seconds"].is_monotonic_increasing and rows["evaluate_seconds"].is_monotonic_increasing
        assert rows["train_seconds"].iloc[-1] == record["train_seconds"]
    assert table.stat().st_size < 100_000


def test_a_replayed_study_is_the_trained_one(tmp_path: Path, full: Path, table: Path) -> None:
    """All to their ends: the same records, but for who made them."""
    replay(tmp_path, table, halved(fidelity="none"))
    assert without(results(tmp_path)) == without(results(full))
    assert {record["host"] for record in trials(tmp_path).values()} == {"replay"}
    again = Driver(tmp_path, halved(fidelity="none"))
    assert again.run().reused == 6  # a worker's files, as the engine reads them


@pytest.mark.parametrize("fidelity", ["none", HALVING])
def test_a_search_asks_pauses_and_promotes_as_where_it_is_trained(tmp_path: Path, table: Path, fidelity: Any) -> None:
    spec = halved(fidelity=fidelity, design={"type": "search", "algorithm": "tpe", "trials": 6})
    Driver(tmp_path / "trained", spec).run()
    driver, _ = replay(tmp_path / "replayed", table, spec)
    assert asked(tmp_path / "replayed") == asked(tmp_path / "trained")
    assert without(results(tmp_path / "replayed")) == without(results(tmp_path / "trained"))
    assert without(paused(tmp_path / "replayed")) == without(paused(tmp_path / "trained"))
    assert not any("warning" in line for line in driver.lines)
    if fidelity != "none":
        assert pauses(tmp_path / "replayed") and any("goes on" in line for line in driver.lines)


def test_a_killed_replay_goes_on_where_its_clock_stood(tmp_path: Path, table: Path) -> None:
    whole, clock = replay(tmp_path / "whole", table, halved())
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    last = max(trials(tmp_path / "cut").items(), key=lambda one: one[1]["simulated_end"])[0]
    shutil.rmtree(tmp_path / "cut" / "trials" / last)
    _, again = replay(tmp_path / "cut", table, halved())
    assert results(tmp_path / "cut").keys() == results(tmp_path / "whole").keys()
    assert again > clock - trials(tmp_path / "whole")[last]["seconds"] and whole.lines


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_simulated_clock_is_that_of_so_many_workers(tmp_path: Path, table: Path, workers: int) -> None:
    """Each takes the next trial as soon as it is free: the ends are those of a list schedule, in their order."""
    driver, clock = replay(tmp_path, table, halved(fidelity="none"), workers)
    records = trials(tmp_path)
    order = [f"{r['config_hash'][:12]}-s0" for r in map(dict, candidates(tmp_path, records))]
    free = [0.0] * workers
    for trial in order:
        start = min(free)
        free[free.index(start)] = start + records[trial]["seconds"]
        assert records[trial]["simulated_end"] == pytest.approx(start + records[trial]["seconds"])
    assert clock == pytest.approx(max(free))
    told = [line.partition(":")[0] for line in driver.lines if "kid" in line]
    ends = sorted(records.values(), key=lambda record: record["simulated_end"])
    assert told == [f"width={record['choices']['backbone.width']}, seed 0" for record in ends]


def candidates(folder: Path, records: dict[str, Any]) -> list[dict[str, Any]]:
    """Records in the order in which their candidates were asked for."""
    by_width = {record["choices"]["backbone.width"]: record for record in records.values()}
    return [by_width[choices["backbone.width"]] for choices in asked(folder)]


def test_a_paused_trial_takes_the_rest_of_its_seconds(tmp_path: Path, table: Path) -> None:
    """With one worker the clock is at the end what all trials took together: nothing counts twice."""
    _, clock = replay(tmp_path, table, halved())
    took = [record["seconds"] for record in (*trials(tmp_path).values(), *pauses(tmp_path).values())]
    assert clock == pytest.approx(sum(took)) and pauses(tmp_path)


def test_points_that_are_not_asked_for_take_no_time(tmp_path: Path, table: Path) -> None:
    spec = halved(fidelity="none")
    spec["evaluate"] = {**spec["evaluate"], "at": [0.5]}
    replay(tmp_path, table, spec)
    for record in trials(tmp_path).values():
        assert list(record["shares"]) == ["0.5"] and [row["samples"] for row in record["metrics"]] == [40, 20, 20]
    few = sum(record["seconds"] for record in trials(tmp_path).values())
    replay(tmp_path / "all", table, halved(fidelity="none"))
    assert few < sum(record["seconds"] for record in trials(tmp_path / "all").values())


def test_what_was_not_recorded_fails_with_one_line(tmp_path: Path, table: Path) -> None:
    spec = halved(fidelity="none", vary={"backbone.width": [4, 7]}, seeds=4)
    driver, _ = replay(tmp_path, table, spec)
    failures = {f["trial"][-1]: f["message"] for f in trials(tmp_path, "failure.json").values() if f["choices"]}
    assert len(trials(tmp_path)) == 3 and len(trials(tmp_path, "failure.json")) == 5
    assert "was recorded not in any seed, among 12 trials of 'probes'" in failures["0"]
    lines = [line for line in driver.lines if "failed" in line]
    assert sum("width=4" in line and "only with seed 0, 1, 2, not 3" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": {"steps": 4}}, r"budget is \{'steps': 4\} here and \{'steps': 8\} there"),
        ({"evaluate.samples": 41}, "evaluate.samples is 41 here and 40 there"),
        ({"evaluate.labels": "random"}, "evaluate.labels is random here and balanced there"),
        ({"evaluate.metrics": [{"type": m, "features": "pixels"} for m in ("kid", "fd")]}, "evaluate.metrics is"),
        ({"evaluate.at_samples": 10}, r"measured on 20 samples \(evaluate.at_samples\), not on 10"),
        ({"evaluate.at": [0.75]}, "nothing at 0.75 of the budget; its points: 0.25, 0.5"),
        ({"evaluate.every": 32}, "say evaluate.at in place of evaluate.every"),
        ({"data": {"type": "digits", "reference": 400}}, "recorded on other data"),
    ],
)
def test_another_study_is_refused_before_anything_runs(
    tmp_path: Path, table: Path, changes: dict[str, Any], message: str
) -> None:
    spec = halved(fidelity="none" if "evaluate.every" in changes else HALVING)
    if "evaluate.every" in changes:
        del spec["evaluate"]["at"]
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = spec
        for parent in parents:
            place = place[parent]
        place[last] = value
    spec["executor"] = {"type": "replay", "table": str(table)}
    with pytest.raises(InputError, match=message):
        ablate.run(spec, out=tmp_path / "out", figures=False)
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_table_are_refused(tmp_path: Path, full: Path) -> None:
    write_tables(full)
    for file, message in ((tmp_path / "none.parquet", "there is no such"), (full / "trials.parquet", "is no recorded")):
        with pytest.raises(InputError, match=message):
            ablate.recorded(file)
        with pytest.raises(InputError, match=message):
            Replay(table=str(file)).start("", "cpu")


def test_what_no_table_can_hold_is_refused(tmp_path: Path, full: Path, table: Path) -> None:
    other = trained(tmp_path / "other", halved(count=1, fidelity="none", budget={"steps": 4}))
    with pytest.raises(InputError, match=r"differs from the first.*budget"):
        ablate.record([full, other], tmp_path / "mixed.parquet")
    replay(tmp_path / "replayed", table, halved(fidelity="none"))
    lock.write(tmp_path / "replayed", load_study(halved(fidelity="none")))
    with pytest.raises(InputError, match=r"was replayed from table.parquet \(.*\), not measured"):
        ablate.record(tmp_path / "replayed", tmp_path / "again.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is no study's folder"):
        ablate.record(tmp_path / "empty", tmp_path / "empty.parquet")
    assert not list(tmp_path.glob("*.parquet"))


def test_a_table_grows_by_a_folder_or_another_table(tmp_path: Path, full: Path, table: Path) -> None:
    """As if all had been recorded at once; what each part varied stands together."""
    ablate.record(full, tmp_path / "first.parquet")
    ablate.record(full.parent / "seeds", tmp_path / "seeds.parquet")
    at_once = ablate.recorded(table)
    for more in (full.parent / "seeds", tmp_path / "seeds.parquet"):
        grown = ablate.record([tmp_path / "first.parquet", more], tmp_path / "grown.parquet")
        pd.testing.assert_frame_equal(grown, at_once)
        assert grown.attrs == at_once.attrs
    whole = RecordedTable(tmp_path / "first.parquet")
    earlier = json.loads(json.dumps(whole.about))
    del earlier["study"]["evaluate"]["labels"], earlier["study"]["data"]["conditions"], earlier["schema"]
    rows = [row for of_trial in whole.trials().values() for row in of_trial]
    write(tmp_path / "earlier.parquet", rows, earlier)  # by a version that did not have these fields
    grown = ablate.record([tmp_path / "earlier.parquet", full.parent / "seeds"], tmp_path / "grown.parquet")
    pd.testing.assert_frame_equal(grown, at_once)
    widths = halved(count=1, fidelity="none", vary={"backbone.width": [8, 24]})
    other = trained(tmp_path / "other", widths)
    together = ablate.record([tmp_path / "first.parquet", other], tmp_path / "wider.parquet")
    before = ablate.recorded(tmp_path / "first.parquet").attrs["study"]["vary"]["backbone.width"]
    assert together.attrs["study"]["vary"]["backbone.width"] == list(dict.fromkeys([*before, 8, 24]))
    assert set(together["c.backbone.width"]) >= {8, 24}


def test_a_replayed_folder_says_so(tmp_path: Path, table: Path) -> None:
    """In its summary, its report and its tables, also where they alone are left."""
    spec = {**halved(), "executor": {"type": "replay", "table": str(table), "workers": 3}}
    found = ablate.run(spec, out=tmp_path / "out", figures=False)
    line = "6 of 6 trials were replayed from table.parquet"
    assert line in str(found.summary()) and "their seconds are simulated" in str(found.summary())
    assert found.trials["simulated_end"].notna().all()
    shutil.rmtree(tmp_path / "out" / "trials")
    assert any(line in warning for warning in load(tmp_path / "out").warnings)


def test_a_replay_goes_on_with_whatever_source_its_table_was_recorded(tmp_path: Path, full: Path) -> None:
    """As one of a table that is older than today's source; a trial that was trained is held to it as ever."""
    older = shutil.copytree(full, tmp_path / "older")
    for folder in (older / "trials").iterdir():
        record = dict(records.read(folder) or {})
        record["sources"] = dict.fromkeys(record["sources"], "0" * 64)
        records.write(folder, record)
    ablate.record(older, tmp_path / "older.parquet")
    spec = {**halved(), "executor": {"type": "replay", "table": str(tmp_path / "older.parquet")}}
    ablate.run(spec, out=tmp_path / "out", figures=False)
    whole = results(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "trials" / max(whole))
    ablate.run(spec, out=tmp_path / "out", figures=False)
    assert results(tmp_path / "out").keys() == whole.keys()
    with pytest.raises(InputError, match="was begun with other source code"):
        ablate.run(halved(fidelity="none"), out=older, figures=False)


def test_diverged_trials_are_replayed_as_such(tmp_path: Path) -> None:
    """At the step at which they did, after the points before it."""
    vary = {"backbone.step": [100, 3, 1], "backbone.trap": ["loss_nan"]}
    spec = halved(fidelity="none", vary=vary)
    spec["base"]["backbone"] = {"type": "probe", "trap": "loss_nan", "step": 100}
    full = trained(tmp_path / "full", spec)
    ablate.record(full, tmp_path / "t.parquet")
    replay(tmp_path / "replayed", tmp_path / "t.parquet", copy.deepcopy(spec))
    assert sorted(r["state"] for r in trials(full).values()) == ["complete", "diverged", "diverged"]
    assert without(results(tmp_path / "replayed")) == without(results(full))
    _, clock = replay(tmp_path / "halved", tmp_path / "t.parquet", {**copy.deepcopy(spec), "fidelity": HALVING})
    took = [r["seconds"] for r in (*trials(tmp_path / "halved").values(), *pauses(tmp_path / "halved").values())]
    assert clock == pytest.approx(sum(took))


def test_a_replayed_record_is_checked_as_any_other(tmp_path: Path, table: Path) -> None:
    replay(tmp_path, table, halved())
    for folder in (tmp_path / "trials").iterdir():
        name = records.PAUSE if (folder / records.PAUSE).exists() else records.RECORD
        record = records.read(folder, name=name)
        assert record is not None and timeless(record)["metrics"]
        assert records.job_of(folder, record)["trial"] == folder.name


def test_nothing_is_asked_of_optuna_twice(tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate is told once, however often it pauses."""
    told: list[int] = []
    tell = Ledger.tell
    monkeypatch.setattr(
        Ledger, "tell", lambda self, entry, *more: (told.append(entry.number), tell(self, entry, *more))
    )
    replay(tmp_path, table, halved(), workers=4)
    assert sorted(told) == list(range(6))


def test_two_thousand_trials_are_looked_up_once_each_and_end_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a table that is made up, with a thousand workers."""
    count, rows = 2000, []
    for number in range(count):
        seconds = 1.0 + number * 7919 % 1000
        record = {
            "config_hash": f"{number:064x}",
            "seed": 0,
            "state": "complete",
            "choices": {},
            "images": 16,
            "params": 1,
            "gflops": 1.0,
            "macs": 1.0,
            "loss": 0.5,
            "train_seconds": seconds,
            "evaluate_seconds": 0.0,
            "metrics": [{"metric": "kid", "images": 16, "samples": 4, "value": float(number)}],
        }
        rows += rows_of(record)
    about = {"study": {"study": "made up"}, "points": [], "samples_during": None}
    write(tmp_path / "t.parquet", rows, about)
    looked_up: list[str] = []
    find = RecordedTable.rows
    monkeypatch.setattr(RecordedTable, "rows", lambda self, job: (looked_up.append(job["job"]), find(self, job))[1])
    waiting = [job_of(tmp_path, number) for number in range(count)]
    ends = []
    with Replay(table=str(tmp_path / "t.parquet"), workers=1000).start("", "cpu") as pool:
        while waiting or len(ends) < count:
            while waiting and len(looked_up) - len(ends) < pool.slots:
                pool.submit(waiting.pop(0))
            (report,) = pool.wait(1)
            record = report["record"]
            ends.append(record["simulated_end"])
            assert record["metrics"][0]["value"] == int(record["config_hash"], 16)
        assert pool.wait(1) == [] and pool.clock == ends[-1]
    assert ends == sorted(ends) and len(set(looked_up)) == len(looked_up) == count
    assert (
        sum(row["train_seconds"] for row in rows) / 1000 <= ends[-1] < sum(row["train_seconds"] for row in rows) / 250
    )


def job_of(folder: Path, number: int) -> dict[str, Any]:
    config_hash = f"{number:064x}"
    trial = f"{config_hash[:12]}-s0"
    return {
        "job": f"{trial}-{number}",
        "trial": trial,
        "folder": str(folder / "trials" / str(number)),
        "seed": 0,
        "config_hash": config_hash,
        "choices": {},
        "params": 1,
        "gflops": 1.0,
        "macs": 1.0,
        "evaluation": {"at": [], "every": None, "samples": 4, "at_samples": None},
    }
