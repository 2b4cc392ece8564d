"""A study's folder says what was done, and its numbers come from one source: real runs of a plugin that changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from segments_for_tests import CACHE, PLUGIN
from trial_files import change, records_of

from ablate.cli import main
from ablate.discovery import catalog
from ablate.engine import CheckedPool, Engine
from ablate.errors import InputError
from ablate.execute.work import call
from ablate.io import launches
from ablate.io.files import read_json, write_json
from ablate.io.sealed import sealed
from ablate.kinds.executor import Pool
from ablate.results import Results, load
from ablate.study import lock
from ablate.study.evaluate import remeasure
from ablate.study.launch import launch, plan_of
from ablate.study.load import load_study
from ablate.study.request import Request
from ablate.worker import records

MINE = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))
from ablate.api import Weighting

class Mine(Weighting):
    name = "mine_of_what_was_done"

    def weight(self, level, sigma_data):
        from helper_of_what_was_done import FACTOR
        return 0.0 * level.snr + FACTOR  # RAISE
"""
STUDY = f"""\
# a comment of hers
study: done
question: Which?
plugins: [mine.py, {PLUGIN}]
data: digits
base: {{backbone: probe, weighting: uniform, solver: {{type: ddim, steps: 1}}, batch: 16}}
vary: {{weighting: [uniform, mine_of_what_was_done]}}
design: {{type: one_factor, seeds: 1}}
budget: {{steps: 50_000}}
evaluate: {{metrics: [{{type: kid, features: pixels}}], samples: 4, batch: 4, previews: 0}}
profiles:
  tiny: {{budget.steps: 2}}
"""


@pytest.fixture(autouse=True, scope="module")
def _place() -> Iterator[None]:
    """The tests' cache, and no figures, which would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        patch.setattr(Results, "figures", lambda *_, **__: [])
        yield


def lay_out(folder: Path) -> Path:
    (folder / "mine.py").write_text(MINE)
    (folder / "helper_of_what_was_done.py").write_text("FACTOR = 1.5\n")
    (folder / "mine.yaml").write_text(STUDY)
    return folder


def run(folder: Path, file: str = "mine.yaml", *overrides: str, **more):
    lines: list[str] = []
    launched = launch(folder / file, overrides=overrides, executor="local", say=lines.append, **more)
    own_lines = [line for line in lines if not line.startswith(("warning: ", "data: "))]  # not those of every run
    return launched, own_lines


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = lay_out(tmp_path_factory.mktemp("done"))
    run(folder, out=folder / "out", profile="tiny", words=["run", "mine.yaml", "--profile", "tiny"])
    return folder


def test_the_folder_holds_the_study_as_it_was_run(once: Path) -> None:
    out = once / "out"
    results = load(out)
    assert results.study["budget"] == {"steps": 2} and "profiles" not in results.study
    assert (out / "study.original.yaml").read_text() == STUDY
    assert load_study(out / "study.yaml").study.digest() == lock.read(out)["identity"]
    [launched] = results.launches
    assert launched["command"] == "ablate run mine.yaml --profile tiny" and launched["profile"] == "tiny"
    assert {"date", "host", "versions", "executor", "device", "cwd", "framework", "commit"} <= launched.keys()
    [copy] = out.glob("sources/*/mine.py")
    assert copy.read_text() == MINE and copy.with_name("helper_of_what_was_done.py").read_text() == "FACTOR = 1.5\n"


def test_a_record_names_the_source_of_all_that_the_trial_used(once: Path) -> None:
    plugins = lock.read(once / "out")["plugins"]
    by_choice = {}
    for record in records_of(once / "out").values():
        assert record["host"] and record["sources"]["ablate"] == plugins["ablate"]["source_hash"]
        by_choice[record["choices"]["weighting"]] = record["sources"]
        assert {"backbone/probe", "data/digits", "solver/ddim", "metric/kid", "features/pixels"} <= set(
            record["sources"]
        )
    name = "weighting/mine_of_what_was_done"
    assert by_choice["mine_of_what_was_done"][name] == plugins[name]["source_hash"]
    assert name not in by_choice["uniform"], "a trial stands on what it uses, and on nothing else"


def test_show_tells_it_within_80_columns_and_as_json(once: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def show(*options: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["show", str(once / "out"), *options])
        assert ended.value.code in (0, None)
        out, err = capsys.readouterr()
        assert err == ""
        return out

    text = show()
    for word in ("done: Which?", "steps: 2", "run mine.yaml --profile tiny", "weighting/mine_of_what", "sources/"):
        assert word in text
    _, _, rest = text.partition("\nlaunches\n")
    assert all(len(line) <= 80 or str(once) in line for line in rest.splitlines())
    content = json.loads(show("--json"))
    assert (
        content["study"]["budget"] == {"steps": 2} and len(content["launches"]) == 1 and "ablate" in content["sources"]
    )


@pytest.fixture
def folder(once: Path, tmp_path: Path) -> Path:
    """A copy whose plugin lies where the folder's study says."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "out" / "study.yaml"
    file.write_text(file.read_text().replace(str(once), str(tmp_path)))
    locked = read_json(tmp_path / "out" / "lock.json")
    locked["kept"] = {name.replace(str(once), str(tmp_path)): place for name, place in locked["kept"].items()}
    write_json(tmp_path / "out" / "lock.json", sealed(locked))
    return tmp_path


def test_the_folders_own_study_goes_on_also_where_its_plugin_is_gone(folder: Path) -> None:
    (folder / "mine.py").unlink()
    launched, lines = run(folder, "out/study.yaml", "design.seeds=2")
    assert launched.folder == folder / "out" and lines == []
    assert (launched.outcome.reused, launched.outcome.measured, launched.outcome.failed) == (2, 2, 0)
    assert load(folder / "out").study["design"] == {"type": "one_factor", "seeds": 2}
    assert (folder / "out" / "study.original.yaml").read_text() == STUDY


def test_a_comment_may_change_and_a_constant_may_not(folder: Path) -> None:
    mine = folder / "mine.py"
    mine.write_text(mine.read_text().replace("# RAISE", "# better so"))
    locked, lines = read_json(folder / "out" / "lock.json"), []
    locked["left_out"] = {"weighting": {"other": "weighting 'other' needs 'more', which nothing here provides"}}
    write_json(folder / "out" / "lock.json", sealed(locked))
    launched = launch(folder / "mine.yaml", out=folder / "out", profile="tiny", executor="local", say=lines.append)
    warning = "warning: vary.weighting: all leaves out other: weighting needs 'more', which nothing here provides"
    assert warning in lines, "it was told at the first launch, and is again"
    lines = [line for line in lines if not line.startswith(("warning: ", "data: "))]
    assert (launched.outcome.reused, launched.outcome.measured, lines) == (2, 0, [])
    mine.write_text(mine.read_text().replace("0.0 *", "0.1 *"))
    before = {file: file.read_bytes() for file in (folder / "out").rglob("*") if file.is_file()}
    with pytest.raises(InputError) as caught:
        run(folder, out=folder / "out", profile="tiny")
    message = str(caught.value)
    plugin = lock.read(folder / "out")["plugins"]["weighting/mine_of_what_was_done"]
    assert f"weighting/mine_of_what_was_done: {plugin['source_hash'][:12]} since {plugin['since'][:10]}" in message
    assert f"{mine}" in message and "measured with it: mine_of_what_was_done, seed 0" in message
    assert "weighting/uniform" not in message and "sources/" in message and "--out" in message
    assert {file: file.read_bytes() for file in before} == before, "a refusal changes nothing"


def test_another_release_is_other_source_where_what_decides_results_differs(folder: Path) -> None:

    def released(record):
        record["versions"]["ablate"], record["sources"]["ablate"] = "0.0.9", "f" * 64

    change(next((folder / "out").glob("trials/*")), released)
    with pytest.raises(InputError) as caught:
        run(folder, out=folder / "out", profile="tiny")
    message = str(caught.value)
    assert (
        "ablate: 0.0.9, ffffffffffff -> " in message and "pip install 'ablate==0.0.9'" in message and "--out" in message
    )


def test_evaluate_refuses_other_source_and_finds_a_plugin_that_moved(folder: Path) -> None:
    out, mine = folder / "out", folder / "mine.py"
    for trial in out.glob("trials/*"):  # sealed, and of the first folder
        assert "mine.py" in str(records.job(trial)["plugins"])
    (folder / "moved").mkdir()
    for name in ("mine.py", "helper_of_what_was_done.py"):
        shutil.copy(folder / name, folder / "moved" / name)
    changed = folder / "changed" / "mine.py"
    changed.parent.mkdir()
    changed.write_text(MINE.replace("0.0 *", "0.3 *"))
    with pytest.raises(InputError, match="complete trials stand on it"):
        remeasure(out, Request(nfe=[2]), "local", plugins=[str(changed)])
    with pytest.raises(InputError, match=r"there is no plugin file .*nowhere/mine\.py"):
        remeasure(out, Request(nfe=[2]), "local", plugins=[str(folder / "nowhere" / "mine.py")])
    assert len(load(out).metrics) == 2, "nothing was measured with it"
    mine.unlink()
    outcome = remeasure(out, Request(nfe=[2]), "local", plugins=[str(folder / "moved" / "mine.py")])
    assert (outcome.measured, outcome.failed) == (2, {})
    assert [launch["action"] for launch in launches.read(out)] == ["run", "evaluate"]


def test_mending_a_plugin_that_failed_costs_nothing_that_was_measured(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    mine = folder / "mine.py"
    mine.write_text(MINE.replace("# RAISE", "+ 1 / 0"))
    launched, _ = run(folder, out=folder / "out", profile="tiny")
    assert (launched.outcome.measured, launched.outcome.failed) == (1, 1)
    mine.write_text(MINE)
    launched, lines = run(folder, out=folder / "out", profile="tiny")
    assert (launched.outcome.reused, launched.outcome.measured, launched.outcome.failed) == (1, 1, 0)
    assert len(lines) == 1 and "on which no complete trial stands: weighting/mine_of_what_was_done" in lines[0]


class NewWorkers(Pool):
    """Every job meets what a new process would import; before the third, the plugin's file is edited."""

    slots = 1

    def __init__(self, change: Callable[[], object]) -> None:
        self.change, self.jobs = change, 0
        self.ended: list[dict] = []

    def submit(self, job) -> None:
        self.jobs += 1
        if self.jobs == 3:  # the first prepares the data
            self.change()
        catalog._catalog.cache_clear()
        self.ended = [json.loads(call("ablate.worker.trial_run:run", json.dumps(job), lambda: False))]

    def wait(self, timeout: float) -> list[dict]:
        ended, self.ended = self.ended, []
        return ended

    def close(self) -> None:
        pass


def test_a_worker_without_the_plugin_s_file_takes_the_folder_s_copy(tmp_path: Path) -> None:
    """As on a node that was not given the plugin; the copy's source is that of the other trials."""
    folder = lay_out(tmp_path)
    loaded = load_study(folder / "mine.yaml", profile="tiny")
    lock.write(folder / "out", loaded)
    pool = NewWorkers((folder / "mine.py").unlink)
    outcome = Engine(plan_of(loaded, folder / "out", "cpu"), CheckedPool(pool, "test")).run()
    assert (outcome.measured, outcome.failed) == (2, 0) and not (folder / "mine.py").exists()
    kept = list(records_of(folder / "out").values())
    assert {one["choices"]["weighting"] for one in kept} == {"uniform", "mine_of_what_was_done"}
    name = "weighting/mine_of_what_was_done"
    (made,) = {one["sources"][name] for one in kept if name in one["sources"]}
    assert made == loaded.catalog.entry("weighting", "mine_of_what_was_done").source_hash


def test_a_worker_that_imported_other_code_ends_the_run_and_records_nothing(tmp_path: Path) -> None:
    """The file is edited while the study runs, then its worker dies: the next one imports what lies there now."""
    folder = lay_out(tmp_path)
    loaded = load_study(folder / "mine.yaml", profile="tiny")
    lock.write(folder / "out", loaded)

    def change() -> None:
        (folder / "mine.py").write_text(MINE.replace("0.0 *", "0.7 *"))

    with pytest.raises(InputError) as caught:
        Engine(plan_of(loaded, folder / "out", "cpu"), CheckedPool(NewWorkers(change), "test")).run()
    message = str(caught.value)
    line = "weighting/mine_of_what_was_done: "
    assert "a worker imported other source code" in message and line in message
    assert str(folder / "mine.py") in message and "what was measured is kept" in message
    assert not list((folder / "out").glob("trials/*/failure.json")), "it is not the candidate's failure"
    [record] = records_of(folder / "out").values()
    assert record["choices"]["weighting"] == "uniform"
    (folder / "mine.py").write_text(MINE)
    launched, _ = run(folder, out=folder / "out", profile="tiny")
    assert (launched.outcome.reused, launched.outcome.measured, launched.outcome.failed) == (1, 1, 0)


def test_a_log_with_a_torn_line_keeps_the_others(tmp_path: Path) -> None:
    launches.append(tmp_path, {"n": 1})
    with (tmp_path / launches.FILE).open("a") as file:
        file.write('{"n": ')
    launches.append(tmp_path, {"n": 2})
    assert launches.read(tmp_path) == [{"n": 1}, {"n": 2}]
