"""Leases: two never hold one job, and what a holder writes that has lost it reaches nobody."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting_for_tests import PATIENCE, collect, until

from ablate.errors import InputError
from ablate.execute import leases, presence
from ablate.execute.joined import JoinedWorker, UnfitError
from ablate.execute.leases import Jobs, Observer, Ticket
from ablate.execute.workers import Workers, WorkersPool
from ablate.io.files import read_json, write_json

WORK = "work_for_tests:work"
HERE = Path(__file__).parents[1] / "helpers"


def ticket(study: Path, name: str, seconds: float = 60.0, **job: Any) -> Ticket:
    return Ticket({"job": name, **job}, WORK, str(study), name, seconds)


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    store = Jobs(tmp_path)
    store.create()
    return store


def test_a_job_has_one_holder_however_many_reach_for_it(jobs: Jobs, tmp_path: Path) -> None:
    """Four processes take and hand in a hundred jobs: each was held once, and its trial is back with one mark in it."""
    names = [f"trial {i}" for i in range(100)]
    for name in names:
        jobs.post(ticket(tmp_path, name))
    code = (
        "import sys; from pathlib import Path; from ablate.execute.leases import Jobs\n"
        "jobs = Jobs(Path(sys.argv[1]))\n"
        "while (lease := jobs.claim(sys.argv[2])) is not None:\n"
        "    with open(lease.place / lease.ticket.trial / 'held', 'a') as file: file.write(sys.argv[2] + ' ')\n"
        "    assert lease.finish('{}')\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"w{i}"]) for i in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert sorted(job for job, _ in jobs.reports()) == sorted(names)
    held = [(jobs.trials / name / "held").read_text().split() for name in names]
    assert all(len(by) == 1 for by in held) and not any((jobs.trials / name).is_symlink() for name in names)
    jobs.clear()
    assert not jobs.root.exists()


def test_a_holder_whose_lease_was_taken_over_reaches_the_trial_no_more(jobs: Jobs, tmp_path: Path) -> None:
    now = [0.0]
    observer = Observer(lambda: now[0])
    trial = jobs.trials / "one"
    write_json(trial / "checkpoint.json", 1)
    jobs.post(ticket(tmp_path, "one"))
    assert read_json(trial / "checkpoint.json") == 1  # by the link, wherever it is
    first = jobs.claim("first")
    assert first is not None and jobs.claim("second") is None
    for now[0] in (0.0, 59.0, 100.0, 159.0):
        assert jobs.reap(observer) == []
        if now[0] != 100.0:
            time.sleep(0.01)  # of the file's clock
            assert first.beat()
    for now[0] in (218.0, 277.0):  # the last sign of life is seen at 218
        assert jobs.reap(observer) == []
    now[0] = 278.1
    assert jobs.reap(observer) == ["one"]
    second = jobs.claim("second")
    assert second is not None and second.losses == 1
    # The first one was only stopped, and goes on.
    write_json(first.place / "one" / "checkpoint.json", 2)
    write_json(first.place / "one" / "record.json", "stale")
    assert not first.beat() and not first.finish("stale") and not first.release()
    assert read_json(second.place / "one" / "checkpoint.json") == 1
    write_json(second.place / "one" / "record.json", "whole")
    assert second.finish(json.dumps("report"))
    assert list(jobs.reports()) == [("one", '"report"')]
    assert read_json(trial / "record.json") == "whole" and read_json(trial / "checkpoint.json") == 1
    jobs.reap(observer)
    now[0] += 3 * leases.LONGEST
    jobs.reap(observer)
    assert list(jobs.places()) == []  # what it wrote is swept


def test_a_job_that_loses_every_holder_ends_as_lost(jobs: Jobs, tmp_path: Path) -> None:
    jobs.post(ticket(tmp_path, "one"))
    for losses in range(leases.LOSSES + 1):
        lease = jobs.claim("dies")
        assert lease is not None and lease.losses == losses
        assert jobs.reap(Observer(), lambda worker: worker == "dies") == ["one"]
    ((job, report),) = jobs.reports()
    assert job == "one" and json.loads(report)["status"] == "lost"


def test_what_a_killed_driver_left_is_taken_back(jobs: Jobs, tmp_path: Path) -> None:
    for name in ("waits", "ended", "held", "moving"):
        write_json(jobs.trials / name / "checkpoint.json", name)
        if name != "moving":
            jobs.post(ticket(tmp_path, name))
    held = jobs.claim("w", lambda one: one.trial == "held")
    ended = jobs.claim("w", lambda one: one.trial == "ended")
    assert held is not None and ended is not None and ended.finish("{}")
    (jobs.moving / "x").mkdir()
    (jobs.trials / "moving").rename(jobs.moving / "x" / "moving")  # killed between two renamings
    jobs.recall()
    for name in ("waits", "ended", "moving"):
        assert read_json(jobs.trials / name / "checkpoint.json") == name and not (jobs.trials / name).is_symlink()
    assert held.beat() and (jobs.trials / "held").is_symlink()  # its worker goes on


def pool_in(study: Path, workers: int | None, lease: float = 60.0) -> WorkersPool:
    pool = Workers(workers=workers, lease=lease).in_folder(study).start(WORK, "cpu")
    assert isinstance(pool, WorkersPool)
    return pool


def holder(jobs: Jobs) -> list[psutil.Process]:
    """The worker that holds the only job, and the process in which it runs."""
    ((_, place),) = jobs.places()
    process = psutil.Process(read_json(jobs.present / f"{place.name.partition('@')[2].rpartition('.')[0]}.json")["pid"])
    return [process, *process.children()]


def test_a_worker_that_is_killed_or_stopped_loses_its_job_to_another(tmp_path: Path) -> None:
    """The stopped one goes on when its job is done elsewhere: what it has is dropped, and it takes the next one."""
    store, mark = Jobs(tmp_path), tmp_path / "marks"
    with pool_in(tmp_path, 2, lease=2.0) as pool:
        for end in (signal.SIGKILL, signal.SIGSTOP):
            pool.submit({"job": "one", "do": "mark", "folder": str(store.trials / "one"), "file": str(mark)})
            until(lambda: pool.wait(0.01) or (mark.exists() and mark.read_text()), PATIENCE, "the job never began")
            first = holder(store)
            for process in first:
                process.send_signal(end)
            until(lambda: pool.wait(0.01) or len(mark.read_text().split()) == 2, PATIENCE, "nobody took it over")
            assert len(holder(store)) == 2 and holder(store)[0] != first[0]
            if end == signal.SIGSTOP:
                for process in first:
                    process.send_signal(signal.SIGCONT)
            mark.with_suffix(".enough").touch()
            report = collect(pool, 1)["one"]
            assert report["status"] == "done" and str(report["pid"]) == mark.read_text().split()[1]
            assert (store.trials / "one" / "result").read_text() == str(report["pid"])
            assert pool.wait(0.5) == []
            for file in (mark, mark.with_suffix(".enough")):
                file.unlink()
        assert first[0].is_running()  # it was only stopped
    assert not store.root.exists() and (store.trials / "one" / "result").exists()


def test_a_driver_that_comes_back_finds_its_jobs_at_work(tmp_path: Path) -> None:
    """The driver is killed in effect: its pool is left without `close`."""
    store, mark = Jobs(tmp_path), tmp_path / "marks"
    job = {"job": "one", "do": "mark", "folder": str(store.trials / "one"), "file": str(mark)}
    worker = JoinedWorker(tmp_path, wait=PATIENCE)
    thread = threading.Thread(target=worker.run, daemon=True)
    with pool_in(tmp_path, None):
        pass  # makes the folder
    left = pool_in(tmp_path, None)
    thread.start()
    left.submit(job)
    until(lambda: mark.exists() and mark.read_text(), PATIENCE, "the job never began")
    with pool_in(tmp_path, None) as pool:
        pool.submit(job)
        mark.with_suffix(".enough").touch()
        assert collect(pool, 1)["one"]["status"] == "done"
        assert len(mark.read_text().split()) == 1  # it was not begun again
        mark.with_suffix(".enough").unlink()
        pool.submit(job)
        until(lambda: len(mark.read_text().split()) == 2, PATIENCE, "the job never began")
    assert not list(store.trials.glob("*/.lock")) and not (store.trials / "one").is_symlink()  # closed: put back
    worker.stop()
    thread.join(PATIENCE)
    assert worker.tally.done == 1 and not thread.is_alive()


def test_a_machine_with_other_versions_or_source_is_refused_by_name(jobs: Jobs, tmp_path: Path) -> None:
    sign = presence.DriverSign(jobs)
    driver = read_json(jobs.root / presence.DRIVER)
    driver["versions"]["torch"] = "1.0"
    write_json(jobs.root / presence.DRIVER, driver)
    with pytest.raises(UnfitError, match=r"other versions than the driver on .*: torch 1\.0 there"):
        JoinedWorker(tmp_path).run()
    sign = presence.DriverSign(jobs)
    wanted = {"plugins": [], "sources": {"weighting/uniform": "0" * 64}}
    jobs.post(ticket(tmp_path, "one", do="echo", **wanted))
    with pytest.raises(UnfitError, match=r"has not the source .*: weighting/uniform \(other source\)"):
        JoinedWorker(tmp_path).run()
    lease = jobs.claim("another")
    assert lease is not None and lease.losses == 0  # it waits for others
    assert lease.release()
    (refused,) = jobs.refused.iterdir()
    assert "weighting/uniform" in read_json(refused)["why"]
    sign.end()


def test_a_worker_ends_when_the_study_has_and_when_nobody_comes(jobs: Jobs, tmp_path: Path) -> None:
    lines: list[str] = []
    assert JoinedWorker(tmp_path, wait=0.2, say=lines.append).run().done == 0
    assert lines == ["no driver and no work for 0 s"]
    (tmp_path / "ended.json").touch()
    assert JoinedWorker(tmp_path, wait=PATIENCE).run().done == 0


def test_own_workers_that_do_not_stay_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.execute.workers.CODE", "import sys; sys.exit('a wire is loose')")
    with (
        pool_in(tmp_path, 1) as pool,
        pytest.raises(InputError, match="ended by itself: a wire is loose"),
    ):
        pool.submit({"job": "one", "do": "echo"})
        collect(pool, 1)
