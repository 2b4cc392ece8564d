"""The files of a finished trial: whole after a kill at any moment, and read as those of earlier versions are."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from segments_for_tests import PLUGIN, after, candidate, job, read, run, timeless
from trial_files import lay_open, record_of

from ablate.io.sealed import DamagedError
from ablate.kinds.executor import Stopped
from ablate.results import load
from ablate.worker import records

PROBES = [{"type": "gradient_norm"}]


class KilledError(BaseException):
    """Stands for a kill: nothing of the program runs after it."""


def killed_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> Callable[[], int]:
    """Let the process be killed before a file is renamed or removed; gives how often that was done or begun."""
    seen = 0

    def counted(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen >= moment:
                raise KilledError(name)
            return plain(*args, **kwargs)

        return act

    for name in ("replace", "unlink"):
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    return lambda: seen


def test_nothing_is_lost_wherever_the_end_of_a_trial_is_killed(tmp_path: Path) -> None:
    whole = job(tmp_path / "whole" / "trials", candidate(), {"steps": 6}, probes=PROBES)
    run(whole)
    half = job(tmp_path / "half" / "trials", candidate(), {"steps": 6}, probes=PROBES)
    with pytest.raises(Stopped):
        run(half, after(5))
    moments = 0
    for moment in range(1, 40):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        shutil.copytree(tmp_path / "half", tmp_path / "cut")
        cut = {**half, "folder": str(tmp_path / "cut" / "trials" / Path(half["folder"]).name)}
        with pytest.MonkeyPatch.context() as patch:
            count = killed_at(patch, moment)
            try:
                run(cut)
            except KilledError:
                moments += 1
            if count() < moment:
                break
        load(tmp_path / "cut")  # whatever state it is in
        report = run(cut)
        assert report["status"] == "done" and timeless(record_of(Path(cut["folder"]))) == timeless(report["record"])
        assert timeless(report["record"]) == timeless(read(whole, "record.json"))
        assert timeless(read(cut, records.CURVE)) == timeless(read(whole, records.CURVE))
        assert read(cut, records.PROBES) == read(whole, records.PROBES)
        assert read(cut, records.JOB)["candidate"] == half["candidate"]
        names = {path.name for path in Path(cut["folder"]).iterdir()}
        assert names == {".lock", "checkpoint", "samples.npy", "samples.png", records.PACKED}
    assert moments > 8 and moment < 39


def test_a_folder_of_an_earlier_version_reads_the_same(tmp_path: Path) -> None:
    trial_job = job(tmp_path / "new" / "trials", candidate(), {"steps": 6}, probes=PROBES)
    run(trial_job)
    trial = Path(trial_job["folder"])
    old = tmp_path / "old" / "trials" / trial.name
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    lay_open(tmp_path / "old")
    assert {"record.json", "curve.json", "probes.json", "job.json"} <= {path.name for path in old.iterdir()}
    assert not (old / records.PACKED).exists()
    new, before = load(tmp_path / "new"), load(tmp_path / "old")
    for table in ("trials", "metrics", "curves", "probes"):
        assert getattr(new, table).equals(getattr(before, table)), table
    assert records.job(old)["candidate"] == records.job(trial)["candidate"] == trial_job["candidate"]
    assert new.warnings == before.warnings
    assert run({**trial_job, "folder": str(old)})["record"] == record_of(old), "it is not measured again"
    record = records.named_anew(old, records.read(old), {"backbone": "other"})  # type: ignore[arg-type]
    assert (old / "record.json").exists() and record == record_of(old), "it stays as it is laid out"


def test_a_record_that_is_named_anew_keeps_what_belongs_to_it(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate(), {"steps": 4})
    record = run(trial_job)["record"]
    trial = Path(trial_job["folder"])
    before = {name: records.content(trial, name) for name in (records.JOB, records.CURVE)}
    named = records.named_anew(trial, record, {"backbone": "other"})
    assert record_of(trial) == named and named["choices"] == {"backbone": "other"}
    assert {name: records.content(trial, name) for name in before} == before


def test_damage_of_the_second_line_costs_the_curve_alone(tmp_path: Path) -> None:
    trial_job = job(tmp_path / "trials", candidate(), {"steps": 4})
    run(trial_job)
    file = Path(trial_job["folder"]) / records.PACKED
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(content)
    results = load(tmp_path)
    assert list(results.trials["state"]) == ["complete"] and results.curves.empty
    assert any(str(file) in warning for warning in results.warnings)
    records.named_anew(file.parent, records.read(file.parent), {"backbone": "other"})  # type: ignore[arg-type]
    with pytest.raises(DamagedError, match="second line"):
        records.job(file.parent)
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)
    results = load(tmp_path)
    assert list(results.trials["state"]) == ["unreadable"] and any(str(file) in line for line in results.warnings)


def test_what_stands_beside_a_record_is_the_jobs_own(tmp_path: Path) -> None:
    """The job comes back whole, though what it shares with the record is stored once."""
    trial_job = job(tmp_path, candidate(), {"steps": 4})
    run(trial_job)
    assert json.dumps(records.job(Path(trial_job["folder"])), sort_keys=True) == json.dumps(trial_job, sort_keys=True)
    assert records.job(Path(trial_job["folder"]))["plugins"] == [PLUGIN]
