"""The border to executors: a plugin's pool gives plain dictionaries, and what is wrong with one is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from segments_for_tests import CACHE
from studies_for_tests import study, trials

from ablate.engine import CheckedPool
from ablate.errors import InputError
from ablate.kinds.executor import Pool
from ablate.study.launch import launch

PLUGIN = '''
"""executor `thirdparty`: each job in the driver's process, when it is waited for."""

import importlib

from ablate.api import Executor, Job, Pool, Report


class Plain(Pool):
    slots = 1

    def __init__(self, work: str) -> None:
        module, _, name = work.partition(":")
        self.work = getattr(importlib.import_module(module), name)
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def wait(self, timeout: float) -> list[Report]:
        return [dict(self.work(self.jobs.pop(), lambda: False), **dict(REPORT)) for _ in list(self.jobs)]

    def close(self) -> None:
        self.jobs.clear()


class ThirdParty(Executor):
    name = "thirdparty"

    def start(self, work: str, device: str) -> Pool:
        return Plain(work)
'''


class Given(Pool):
    """Gives back what it was made with, whatever is submitted."""

    slots = 2

    def __init__(self, *reports: Any) -> None:
        self.reports = list(reports)
        self.closed = False

    def submit(self, job: Any) -> None:
        pass

    def wait(self, timeout: float) -> list[Any]:
        reports, self.reports = self.reports, []
        return reports

    def close(self) -> None:
        self.closed = True


def run_with(folder: Path, monkeypatch: pytest.MonkeyPatch, report: str) -> Any:
    """A study of one trial on the plugin's executor; report: what its reports have beside the worker's."""
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    plugin = folder / "thirdparty_executor.py"
    plugin.write_text(PLUGIN.replace("REPORT", report))
    spec = study(vary={}, **{"design.seeds": 1})
    return launch(
        {**spec, "plugins": [*spec["plugins"], str(plugin)]}, out=folder / "out", executor="thirdparty", device="cpu"
    )


def test_an_executor_that_gives_plain_dictionaries_runs_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_with(tmp_path, monkeypatch, "note=('a', 'key', 'of', 'its', 'own')").outcome
    assert (outcome.measured, outcome.failed) == (1, 0)
    assert [record["state"] for record in trials(tmp_path / "out").values()] == ["complete"]


def test_an_executor_that_gives_an_unknown_status_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"executor 'thirdparty': .* not valid: status: .*'done', 'diverged'"):
        run_with(tmp_path, monkeypatch, "status='finished'")
    assert not trials(tmp_path / "out", "failure.json"), "it is not the candidate's failure"


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("done", "report: Input should be a valid dictionary"),
        ({"status": "done"}, "job: Field required"),
        ({"job": "a"}, "status: Field required"),
        ({"job": "a", "status": "ended"}, "status: Input should be 'done'"),
        ({"job": "b", "status": "done"}, "job: none of the name 'b' runs"),
        ({"job": "a", "status": "failed", "message": OSError("full")}, "message: Input should be a valid string"),
        ({"job": "a", "status": "failed", "errno": "28"}, "errno: Input should be a valid integer"),
        ({"job": "a", "status": "oom", "phase": "sample"}, "phase: Input should be 'train' or 'measure'"),
        ({"job": "a", "status": "failed", "other_source": [{}]}, "other_source.0.component: Field required"),
    ],
)
def test_a_report_that_is_wrong_is_told_with_executor_and_key(report: Any, message: str) -> None:
    with CheckedPool(Given(report), "mine") as pool, pytest.raises(InputError) as caught:
        pool.submit({"job": "a"})
        pool.wait(0.0)
    assert str(caught.value).startswith(f"executor 'mine': gave back a report that is not valid: {message}")


def test_a_job_is_reported_once() -> None:
    pool = CheckedPool(Given({"job": "a", "status": "lost"}, {"job": "a", "status": "done"}), "mine")
    pool.submit({"job": "a"})
    with pytest.raises(InputError, match="none of the name 'a' runs"):
        pool.wait(0.0)


def test_other_keys_stay_and_the_pool_is_closed() -> None:
    plain_pool = Given({"job": "a", "status": "diverged", "record": {"state": "no record at all"}, "note": 3})
    with CheckedPool(plain_pool, "mine") as pool:
        assert pool.slots == 2 and not pool.abandon("a", "it hangs")
        pool.submit({"job": "a"})
        assert pool.wait(0.0) == [
            {"job": "a", "status": "diverged", "record": {"state": "no record at all"}, "note": 3}
        ]
    assert plain_pool.closed
