"""The index of a folder's trials: what it saves is not read again, and what has changed on disk is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from results_folders import METRIC, Study

from ablate.results import index, load, store, trial_rows
from ablate.worker import records


@pytest.fixture
def indexed(conditioning: Study, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study whose trials were read once, each with an index, though they are few and new."""
    monkeypatch.setattr(index, "FEWEST", 1)
    monkeypatch.setattr(index, "SETTLED", 0)
    load(conditioning.path).trials  # noqa: B018 - read for the index
    assert (conditioning.path / index.FOLDER).exists()
    return conditioning.path


def tables(folder: Path) -> list[pd.DataFrame]:
    """All that is read of trials."""
    results = load(folder)
    return [results.trials, results.metrics, results.curves]


def anew(folder: Path) -> list[pd.DataFrame]:
    """The same without an index."""
    shutil.rmtree(folder / index.FOLDER, ignore_errors=True)
    return tables(folder)


def assert_alike(found: list[pd.DataFrame], expected: list[pd.DataFrame]) -> None:
    for one, other in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(one, other)


def read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trials that are read from their own files."""
    names: list[str] = []
    read = trial_rows.read_trial
    with monkeypatch.context() as patch:
        patch.setattr(
            trial_rows, "read_trial", lambda trial, *more, **how: (names.append(trial.name), read(trial, *more, **how))
        )
        load(folder).trials  # noqa: B018
    return names


def test_who_writes_the_tables_as_a_driver_that_ends_leaves_an_index(
    indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(indexed / index.FOLDER)
    store.write_tables(indexed)
    assert read_again(indexed, monkeypatch) == []


def test_what_is_known_is_not_read_and_is_the_same(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_again(indexed, monkeypatch) == []
    known = tables(indexed)
    assert len(known[2]) and len(known[0]) == 12
    assert_alike(known, anew(indexed))


def test_the_curves_of_some_trials_are_those_among_all(indexed: Path) -> None:
    some = load(indexed).trials["trial"].tolist()[2:5]
    whole, left_aside = load(indexed), load(indexed)
    expected = whole.curves[whole.curves["trial"].isin(some)].reset_index(drop=True)
    assert set(expected["trial"]) == set(some)
    for found in (whole.curves_of(some), left_aside.curves_of(some)):
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected)


def made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a table of trials is made of rows."""
    calls: list[object] = []
    make = store.frames.trials
    with monkeypatch.context() as patch:
        patch.setattr(store.frames, "trials", lambda *given: (calls.append(given), make(*given))[1])
        load(folder).trials  # noqa: B018
    return len(calls)


def test_tables_are_read_as_they_were_made_until_a_file_changes(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made(indexed, monkeypatch) == 0
    trials = sorted((indexed / "trials").iterdir())
    other_value(trials[3])
    assert made(indexed, monkeypatch) == 1
    assert made(indexed, monkeypatch) == 0
    assert_alike(tables(indexed), anew(indexed))
    shutil.rmtree(trials[0])
    assert made(indexed, monkeypatch) == 1


@pytest.mark.parametrize("name", [*index.TABLES, index.ROWS])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}"])
def test_a_damaged_part_of_an_index_is_not_read(
    indexed: Path, name: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tables(indexed)
    (indexed / index.FOLDER / name).write_bytes(content)
    other_value(sorted((indexed / "trials").iterdir())[3])
    assert len(read_again(indexed, monkeypatch)) == (12 if name == index.ROWS else 1)
    (indexed / index.FOLDER / name).write_bytes(content)
    found = tables(indexed)
    assert_alike(found, anew(indexed))
    assert not found[1].equals(expected[1])
    assert made(indexed, monkeypatch) == 0


def test_what_drew_a_warning_is_told_each_time(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One measurement with two values: no file is damaged, and the tables alone would not tell."""
    trial = sorted((indexed / "trials").iterdir())[0]
    record = json.loads((trial / records.RECORD).read_text())
    row = {**record["metrics"][0], "value": record["metrics"][0]["value"] + 1}
    (trial / "measured").mkdir()
    (trial / "measured" / "a.json").write_text(json.dumps({"trial": trial.name, "metrics": [row]}))
    told = load(indexed).warnings
    assert any("has the values" in line for line in told)
    assert read_again(indexed, monkeypatch) == [] and made(indexed, monkeypatch) == 1
    assert load(indexed).warnings == told


def other_value(folder: Path) -> None:
    """Another value of as many signs, and the file's own time, as a program can set it."""
    file = folder / records.RECORD
    before, record = file.stat(), json.loads(file.read_text())
    record["metrics"][0]["value"] = round(record["metrics"][0]["value"] + 1, 3)
    records.write(folder, record)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def in_place(folder: Path) -> None:
    """A file that is changed as an editor may do it: the folder's own time stays."""
    file = folder / records.RECORD
    with file.open("r+") as stream:
        stream.seek(10)
        stream.write("#")


def evaluated(folder: Path) -> None:
    (folder / "measured").mkdir()
    row = {"images": 1, "metric": "other", "value": 2.0, "samples": 3}
    (folder / "measured" / "a.json").write_text(json.dumps({"trial": folder.name, "metrics": [row]}))


CHANGES: list[Callable[[Path], None]] = [
    *(other_value, in_place, evaluated, shutil.rmtree),
    lambda folder: (folder / records.RECORD).unlink(),
    lambda folder: (folder / "curve.json").write_text("[]"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_seen(indexed: Path, change: Callable[[Path], None]) -> None:
    before = tables(indexed)
    change(sorted((indexed / "trials").iterdir())[3])
    found, warnings = tables(indexed), load(indexed).warnings
    assert any(not one.equals(other) for one, other in zip(found, before, strict=True))
    assert load(indexed).warnings == warnings  # of what is damaged, each time
    assert_alike(found, anew(indexed))
    assert load(indexed).warnings == warnings


def test_a_second_measurement_is_seen(indexed: Path) -> None:
    folder = sorted((indexed / "trials").iterdir())[0]
    evaluated(folder)
    assert (load(indexed).metrics["value"] == 2.0).sum() == 1
    file = folder / "measured" / "a.json"
    file.write_text(file.read_text().replace("2.0", "4.0"))
    assert (load(indexed).metrics["value"] == 4.0).sum() == 1


def test_of_what_was_just_written_the_contents_are_compared(
    conditioning: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change in the same moment could have the same times."""
    monkeypatch.setattr(index, "FEWEST", 1)
    for file in conditioning.path.glob("trials/*/*"):
        state = index.state_of(file.parent, [file.name])
        newest = max(max(stamp[3:]) for stamp in state)
        assert not index.settled(state, newest + index.SETTLED) and index.settled(state, newest + index.SETTLED + 1)
    monkeypatch.setattr(index, "SETTLED", 3600 * 10**9)  # however long the machine takes
    load(conditioning.path).trials  # noqa: B018
    assert read_again(conditioning.path, monkeypatch) == [] and made(conditioning.path, monkeypatch) == 0
    stamps = {}

    def same_times(folder: str, name: str) -> list[Any] | None:
        return stamps.setdefault((folder, name), stamp(folder, name))

    stamp = index._stamp
    monkeypatch.setattr(index, "_stamp", same_times)
    assert read_again(conditioning.path, monkeypatch) == []
    changed = sorted((conditioning.path / "trials").iterdir())[3]
    other_value(changed)
    assert read_again(conditioning.path, monkeypatch) == [changed.name]
    assert_alike(tables(conditioning.path), anew(conditioning.path))


@pytest.mark.parametrize("content", ["", "[]", '{"reader": "another", "states": {}}', '{"states": {}}'])
def test_an_index_that_is_none_is_made_anew(indexed: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (indexed / index.FOLDER / index.STATES).write_text(content)
    assert len(read_again(indexed, monkeypatch)) == 12
    assert read_again(indexed, monkeypatch) == []


def test_small_studies_and_folders_that_cannot_be_written_have_none(
    conditioning: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(conditioning.path).trials  # noqa: B018
    assert not (conditioning.path / index.FOLDER).exists()
    monkeypatch.setattr(index, "FEWEST", 1)
    monkeypatch.setattr(index, "write_atomic", lambda *a, **more: (_ for _ in ()).throw(PermissionError("read only")))
    assert len(load(conditioning.path).trials) == 12 and METRIC
