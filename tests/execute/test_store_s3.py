"""Whole studies in an S3 server on the loopback, while drivers and workers are killed and the server says 503."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kills_for_tests import LONG, assert_same_tables, command, environment, errors, lay_out, run, until
from object_server import ObjectServer, object_server

from ablate.execute.store_driver import StoreDriver
from ablate.execute.store_jobs import HELD, StoreJobs
from ablate.execute.store_pool import StorePool
from ablate.execute.workers import _Own
from ablate.io.stores import Store
from ablate.runtime.stored import readable

MISSING = [name for name in ("s3fs", "moto", "flask", "flask_cors") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
LEASE = ("--executor", "workers", "--set", "executor={type: workers, lease: 30}")


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with object_server() as running:
        yield running


@pytest.fixture
def variables(server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    given = {**server.variables, "ABLATE_STORES": str(tmp_path / "stores"), "PROBE_SLEEP": "0.05"}
    given["PROBE_HOLD"] = str(tmp_path / "hold")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return given


def begun(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def driver(file: Path, url: str) -> subprocess.Popen[str]:
    return begun(*command(file, url, *LEASE))  # type: ignore[arg-type]


def worker(url: str) -> subprocess.Popen[str]:
    return begun(sys.executable, "-m", "ablate.cli", "worker", url)


def killed(process: subprocess.Popen[str]) -> None:
    """kill -9 of it and of all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_study_whose_driver_and_workers_are_killed_is_the_same_study(
    server: ObjectServer, variables: dict[str, str], tmp_path: Path
) -> None:
    """Meanwhile the server says 503, before and after it has done what it was asked. Trainings wait for the kills."""
    file, url, undisturbed = lay_out(tmp_path / "study"), "s3://bucket/killed", tmp_path / "undisturbed"
    assert run(file, undisturbed, "--executor", "local").returncode == 0
    hold = Path(variables["PROBE_HOLD"])
    hold.touch()
    jobs, chance = StoreJobs(Store(url)), random.Random(19)
    drivers, workers = [driver(file, url)], []

    def until_it(true: object, what: str) -> None:
        assert callable(true)

        def there() -> bool:
            assert drivers[-1].poll() is None, drivers[-1].communicate()
            return bool(true())

        until(there, LONG, what)

    try:
        until_it(lambda: jobs.look(), "it put up no job")
        workers += [worker(url), worker(url)]
        for end in ("worker", "driver", "503", "worker", "driver"):
            until_it(lambda: any(s.kind in HELD and s.files for s in jobs.look().values()), "nobody trains")
            if end == "503":
                server.fail(20, after=chance.random() < 0.5)
            elif end == "worker":
                killed(workers.pop(0))
                workers.append(worker(url))
            else:
                killed(drivers[-1])
                drivers.append(driver(file, url))
        hold.unlink()
        _, told = drivers[-1].communicate(timeout=LONG)
        assert drivers[-1].returncode == 0, told
        assert not [line for line in errors(told).splitlines() if "does not answer" not in line]
        until(lambda: all(one.poll() is not None for one in workers), LONG, "workers go on without work")
        assert {one.returncode for one in workers} == {0}
    finally:
        for one in (*drivers, *workers):
            if one.poll() is None:
                killed(one)
            one.communicate()
    folder = readable(url)
    assert_same_tables(folder, undisturbed)
    assert {name for name in Store(url).listing("workers") if not name.startswith("workers/driver/")} == set()


def test_a_worker_that_is_killed_or_stopped_loses_its_job_to_another(
    server: ObjectServer, variables: dict[str, str], tmp_path: Path
) -> None:
    """The stopped one goes on when its job is another's: what it hands in is dropped. Meanwhile the server says 503."""
    url, mark, study = "s3://bucket/late", tmp_path / "mark", tmp_path / "study"
    study.mkdir()
    (study / "lock.json").write_text("{}")
    driver = StoreDriver(url, study, print)
    driver.fetch()
    with (
        driver.driving(),
        StorePool("work_for_tests:work", driver, lambda url: [_Own(url, 1), _Own(url, 1)], 60.0) as pool,
    ):
        pool.submit({"job": "one", "do": "mark", "folder": str(study / "trials" / "one"), "file": str(mark)})
        begun: list[str] = []

        def another() -> bool:
            """Another process has begun it."""
            assert pool.wait(0.01) == []
            now = mark.read_text().split() if mark.exists() else []
            return len(now) > len(begun)

        stopped: list[psutil.Process] = []
        for end in (signal.SIGKILL, signal.SIGSTOP):
            until(another, LONG, "nobody began it")
            begun = mark.read_text().split()
            (standing,) = driver.jobs.look().values()
            process = psutil.Process(int(standing.worker.split("-")[-2]))
            stopped = [process, *process.children()]
            for one in stopped:
                one.send_signal(end)
            server.fail(6, after=end == signal.SIGKILL)
        until(another, LONG, "nobody took it over")
        for one in stopped:
            one.send_signal(signal.SIGCONT)
        mark.with_suffix(".enough").touch()
        reports: list[Any] = []
        until(lambda: reports.extend(pool.wait(0.1)) or reports, LONG, "no report came")
        assert reports[0]["status"] == "done" and str(reports[0]["pid"]) == mark.read_text().split()[-1]
        assert str(reports[0]["pid"]) not in begun
        assert (study / "trials" / "one" / "result").read_text() == str(reports[0]["pid"])
        assert pool.wait(0.5) == []
    there = set(Store(url).listing())
    assert {name for name in there if name.startswith("trials/")} == {"trials/one/result"}


def test_a_store_that_cannot_be_reached_is_refused_in_one_message(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = lay_out(tmp_path / "study")
    refused = run(file, "s3://nobucket/x", "--executor", "local")  # type: ignore[arg-type]
    assert refused.returncode == 2 and "there is no such bucket" in errors(refused.stderr)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for words in (command(file, "s3://bucket/x"), [sys.executable, "-m", "ablate.cli", "status", "s3://bucket/x"]):  # type: ignore[arg-type]
        process = begun(*words)
        _, told = process.communicate(timeout=LONG)
        lines = [line for line in errors(told).splitlines() if not line.startswith("warning: ")]
        assert process.returncode == 2 and len(lines) == 1, told
        assert "s3://bucket/x: cannot be reached" in lines[0] and "not-to-be-told" not in told
