"""Trackers beside a running study: what they are told, and that none of them can harm it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from segments_for_tests import PLUGIN
from studies_for_tests import Driver, results, study

from ablate.cli import new
from ablate.errors import InputError
from ablate.kinds.tracker import TrackedStudy
from ablate.study import track, track_child
from ablate.study.load import load_study

BAD = '''
"""Trackers that fail: one cannot connect, one raises in the middle, one never ends, one is not installed."""
import os, time
from ablate.api import Log, Tracker

class Nothing(Log):
    def begin(self, trial, handle): return None
    def log(self, trial, images, values, seconds): pass
    def picture(self, trial, images, picture): pass
    def end(self, trial, state, values, message): pass
    def close(self): pass

class Unreachable(Tracker):
    """Raises what a library raises."""
    name = "unreachable"
    def open(self, study): raise ConnectionError("no server at nowhere:1\\nsecond line \\x1b[31m")

class Breaking(Nothing):
    def log(self, trial, images, values, seconds): raise ValueError("half way")

class Half(Tracker):
    """Raises in the middle."""
    name = "half"
    def open(self, study):
        print("what a library prints")
        return Breaking()

class Sleeping(Nothing):
    def close(self): time.sleep(10_000)

class Endless(Tracker):
    """Never ends."""
    name = "endless"
    def open(self, study): return Sleeping()

class Gone(Tracker):
    """Ends its process."""
    name = "gone"
    def open(self, study): os._exit(7)

class Absent(Tracker):
    """Is not installed."""
    name = "absent"
    @classmethod
    def missing(cls): return "pip install 'ablate[absent]'"
    def open(self, study): raise AssertionError
'''


def spec_with(tmp_path: Path, trackers: list[str]) -> dict[str, object]:
    """The small study with local trackers, one of which is the template's."""
    lines = tmp_path / "lines.py"
    if not lines.exists():
        new.write_file(lines, "lines", "tracker")
        (tmp_path / "bad.py").write_text(BAD)
    plugins = [PLUGIN, str(lines), str(tmp_path / "bad.py")]
    small = study(plugins=plugins, vary={"backbone.width": [2, 4]}, **{"evaluate.at": [0.5], "evaluate.previews": 2})
    return {**small, "budget": {"steps": 4}, "trackers": trackers}


def run(driver: Driver, said: list[str]) -> None:
    loaded = driver.loaded
    about = TrackedStudy(loaded.study.study, loaded.study.question, driver.folder)
    driver.folder.mkdir(exist_ok=True)
    with track.tracked(loaded.study.trackers, about, loaded.catalog, loaded.names, said.append) as tell:
        driver.run()
        tell()


def logged(folder: Path) -> dict[str, list[dict[str, object]]]:
    return {
        file.stem: [json.loads(line) for line in file.read_text().splitlines()] for file in folder.glob("lines/*.jsonl")
    }


def test_it_decides_no_result_and_stands_once(tmp_path: Path) -> None:
    plain, tracked = (load_study(spec_with(tmp_path, names)) for names in ([], ["lines", "absent"]))
    assert plain.study.digest() == tracked.study.digest()
    assert plain.used.keys() == tracked.used.keys()
    with pytest.raises(InputError, match="'lines' stands twice"):
        load_study(spec_with(tmp_path, ["lines", "lines"]))
    with pytest.raises(InputError, match="did you mean 'lines'"):
        load_study(spec_with(tmp_path, ["linse"]))


def test_every_trial_is_logged_and_who_fails_costs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "CLOSING", 500.0)
    names = ["lines", "unreachable", "half", "gone", "absent"]
    driver, said = Driver(tmp_path / "tracked", spec_with(tmp_path, names)), list[str]()
    run(driver, said)
    plain = Driver(tmp_path / "plain", spec_with(tmp_path, []))
    plain.run()
    assert results(tmp_path / "tracked") == results(tmp_path / "plain")
    found = logged(tmp_path / "tracked")
    assert found.keys() == results(tmp_path / "plain").keys() and len(found) == 4
    for trial, lines in found.items():
        assert lines[0]["seed"] == int(trial[-1]) and lines[-1]["state"] == "complete"
        assert [line["images"] for line in lines if "loss" in line and "state" not in line] == [16, 32, 48, 64]
        assert {line.get("images") for line in lines if any("kid_pixels" in name for name in line)} >= {32, 64}
    assert len(said) == 4 and all(line.startswith("warning: tracker '") for line in said)
    told = {line.split("'")[1]: line for line in said}
    assert "ConnectionError: no server at nowhere:1 second line" in told["unreachable"] and "\x1b" not in str(said)
    assert "half way" in told["half"] and "code 7" in told["gone"] and "pip install 'ablate[absent]'" in told["absent"]
    assert all(f"`ablate export {tmp_path / 'tracked'} --to " in line for line in said)
    assert "what a library prints" in (tmp_path / "tracked" / "trackers" / "half.log").read_text()


@pytest.mark.thorough
def test_one_that_hangs_is_ended_and_one_that_goes_on_logs_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track, "CLOSING", 500.0)
    driver, said = Driver(tmp_path / "study", spec_with(tmp_path, ["lines"])), list[str]()
    run(driver, said)
    before, first = logged(tmp_path / "study"), next(iter(logged(tmp_path / "study")))
    shutil.rmtree(tmp_path / "study" / "trials" / first)  # lost: it is trained again
    (tmp_path / "study" / "lines" / f"{first}.jsonl").unlink()
    state = next((tmp_path / "study" / "trackers").glob("lines-*.json"))
    known = json.loads(state.read_text())
    known["trials"].pop(first)
    state.write_text(json.dumps(known))
    again = Driver(tmp_path / "study", spec_with(tmp_path, ["lines"]))
    run(again, said)
    assert logged(tmp_path / "study").keys() == before.keys()
    assert all(len(lines) == len(before[trial]) for trial, lines in logged(tmp_path / "study").items())
    assert said == []
    monkeypatch.setattr(track, "CLOSING", 5.0)
    run(Driver(tmp_path / "study", spec_with(tmp_path, ["endless"])), said)
    assert len(said) == 1 and "has not sent what was left within 5 s" in said[0]


def test_a_file_of_what_was_told_that_is_damaged_is_none(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    for content in ("{", "[]", '{"trials": {"a": 3, "b": {"upto": {"loss": "x"}}}}'):
        state.write_text(content)
        follower = track_child.Follower(None, tmp_path, None, state)
        assert all(told.upto == {} for told in follower.told.values())
        follower.look()
