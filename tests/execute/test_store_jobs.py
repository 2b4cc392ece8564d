"""Jobs in a store: who holds one, what a late holder's writes come to, and what is left where somebody is killed."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from segments_for_tests import CACHE
from studies_for_tests import study
from waiting_for_tests import until

import ablate
from ablate.errors import InputError
from ablate.execute.exchange import ENDED
from ablate.execute.joined import JoinedWorker, UnfitError
from ablate.execute.leases import LOSSES, Ticket
from ablate.execute.store_driver import StoreDriver
from ablate.execute.store_jobs import Observer, StoreJobs, files_of
from ablate.execute.store_lease import StoreLease
from ablate.execute.store_pool import StorePool
from ablate.execute.store_worker import StoreExchange
from ablate.io.stores import Object, Store

WORK = "work_for_tests:work"
PATIENCE = 300.0
_numbers = itertools.count()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("ABLATE_STORES", str(tmp_path / "stores"))
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    name = f"jobs-{next(_numbers)}"
    yield Store(f"memory://{name}")
    if fsspec.filesystem("memory").exists(f"/{name}"):
        fsspec.filesystem("memory").rm(f"/{name}", recursive=True)


def ticket(job: str = "one", **more: Any) -> Ticket:
    return Ticket({"job": job, **more}, WORK, "memory://study", job, 60.0)


def hold(jobs: StoreJobs, worker: str, folder: Path) -> StoreLease:
    """The only job, claimed."""
    ((_, standing),) = jobs.look().items()
    number = jobs.claim(standing, worker)
    assert number is not None
    lease = StoreLease(jobs, standing, number, worker, folder / worker)
    lease.begin()
    return lease


def test_of_many_workers_one_gets_a_job(store: Store) -> None:
    StoreJobs(store).post(ticket(), {})
    gate, got = threading.Barrier(8), []

    def claim(number: int) -> None:
        jobs = StoreJobs(store)
        (standing,) = jobs.look().values()
        gate.wait()
        if jobs.claim(standing, f"w{number}") is not None:
            got.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (standing,) = StoreJobs(store).look().values()
    assert len(got) == 1 and standing.worker == f"w{got[0]}"


def test_what_a_late_holder_writes_does_not_count(store: Store, tmp_path: Path) -> None:
    """It was stopped for long, and goes on: neither its checkpoint, nor its report, nor giving the job back counts."""
    jobs, others = StoreJobs(store), StoreJobs(store)
    store.write("trials/one/paused.json", b"before")
    jobs.post(ticket(), files_of(store, "one"))
    late = hold(jobs, "late", tmp_path)
    assert (late.place / "one" / "paused.json").read_bytes() == b"before"
    (late.place / "one" / "checkpoint").mkdir()
    (late.place / "one" / "checkpoint" / "1.json").write_text("by late")
    assert late._append({"kind": "saved"}) and late.beat()
    (standing,) = others.look().values()
    others.give_up(standing)
    second = hold(others, "second", tmp_path)
    assert (second.place / "one" / "checkpoint" / "1.json").read_text() == "by late"  # it goes on from there
    assert second.losses == 1
    (late.place / "one" / "record.json").write_text("by late")
    assert not late.beat() and not late.finish("{}") and not late.release()
    (second.place / "one" / "record.json").write_text("by second")
    assert second.finish('{"status": "done"}')
    (standing,) = jobs.look().values()
    assert standing.entry["report"] == {"status": "done"}
    jobs.take_in(standing, "one")
    names = {name: store.read(f"trials/one/{name}") for name in files_of(store, "one")}
    assert names == {"checkpoint/1.json": b"by late", "record.json": b"by second", "paused.json": b"before"}
    assert not late.finish("{}") and not jobs.look()  # an entry without a job
    jobs.sweep()
    assert not store.listing("workers")


def test_taking_in_may_be_cut_short_anywhere(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):  # no store is asked again after it
        pass

    def counted(what: Any) -> Any:
        def call(*given: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return what(*given)

        return call

    fs = fsspec.filesystem("memory")
    for cut in range(1, 40):
        jobs = StoreJobs(store)
        store.write("trials/one/old.json", b"old")
        jobs.post(ticket(), {})
        lease = hold(jobs, "w", tmp_path)
        for name in ("curve.json", "record.json"):
            (lease.place / "one" / name).write_text(name)
        assert lease.finish('{"status": "done"}')
        lease.drop()
        left = cut
        with monkeypatch.context() as patch:
            for name in ("copy", "rm_file"):
                patch.setattr(store._fs, name, counted(getattr(fs, name)))
            try:
                jobs.take_in(next(iter(jobs.look().values())), "one")
            except Killed:
                if "trials/one/record.json" in store.listing():
                    assert "trials/one/curve.json" in store.listing()
        through = left >= 0
        for standing in StoreJobs(store).look().values():
            StoreJobs(store).take_in(standing, "one")
        assert set(files_of(store, "one")) - {"old.json"} == {"curve.json", "record.json"}
        StoreJobs(store).sweep()
        assert not store.listing("workers")
        store.remove(store.listing())
        if through:
            return
    raise AssertionError("it never came to an end")


def test_a_job_that_lost_too_many_has_ended(store: Store, tmp_path: Path) -> None:
    jobs = StoreJobs(store)
    jobs.post(ticket(), {})
    for _ in range(LOSSES + 1):
        hold(jobs, "dies", tmp_path).drop()
        (standing,) = jobs.look().values()
        jobs.give_up(standing)
    (standing,) = jobs.look().values()
    assert standing.entry["report"]["status"] == "lost" and standing.kind == "ended"


def test_time_in_which_nobody_could_look_does_not_count() -> None:
    """A store that was away for an hour: its workers could give no sign of life, and are not lost by that."""
    times = [0.0, 1.0, 2.0, 3600.0, 3601.0]
    observer = Observer(lambda: times.pop(0))
    sign = {"w": Object(1, "a")}
    assert [observer.look(sign, gap=5.0)["w"] for _ in range(3)] == [0.0, 1.0, 2.0]
    assert observer.look(sign, gap=5.0)["w"] <= 7.0
    assert observer.look({"w": Object(1, "b")}, gap=5.0) == {"w": 0.0}


def driver_of(store: Store, folder: Path) -> StoreDriver:
    (folder / "sources" / "x").mkdir(parents=True, exist_ok=True)
    (folder / "sources" / "x" / "mine.py").write_text("")
    (folder / "lock.json").write_text('{"kept": {"/gone/mine.py": "sources/x/mine.py"}}')
    return StoreDriver(store.url, folder, print)


def test_a_pool_in_a_store_and_a_worker_that_joins(store: Store, tmp_path: Path) -> None:
    """Also a driver that is gone in the midst of it: another one finds the job at work, from another folder."""
    mark, lines = tmp_path / "mark", list[str]()

    def job(folder: Path) -> dict[str, Any]:
        return {"job": "one", "do": "mark", "folder": str(folder / "trials" / "one"), "file": str(mark)}

    first = driver_of(store, tmp_path / "first")
    first.fetch()
    second = driver_of(store, tmp_path / "second")
    with first.driving():
        with (
            pytest.raises(InputError, match=r"another `ablate run` is at work at memory://.*\(process \d+\)"),
            second.driving(),
        ):
            pass
        left = StorePool(WORK, first, lambda url: [], 60.0)
        worker = JoinedWorker(StoreExchange(store.url), wait=PATIENCE, say=lines.append)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        left.submit(job(tmp_path / "first"))
        until(lambda: mark.exists() and mark.read_text(), PATIENCE, "the job never began")
    second.fetch()
    with second.driving():
        with StorePool(WORK, second, lambda url: [], 60.0) as pool:
            pool.submit(job(tmp_path / "second"))
            mark.with_suffix(".enough").touch()
            reports: list[Any] = []
            until(lambda: reports.extend(pool.wait(0.1)) or reports, PATIENCE, "no report came")
            assert reports[0]["status"] == "done" and len(mark.read_text().split()) == 1  # it was not begun again
            assert (tmp_path / "second" / "trials" / "one" / "result").read_text() == str(reports[0]["pid"])
            pool.submit({"job": "two", "do": "echo", "plugins": ["/gone/mine.py"]})
            until(lambda: reports.extend(pool.wait(0.1)) or len(reports) == 2, PATIENCE, "no report came")
            (copy,) = reports[1]["got"]["plugins"]  # which the driver's folder keeps
            assert copy == str(worker._study / "sources" / "x" / "mine.py")
        store.write(ENDED, b"{}")
        thread.join(PATIENCE)
        assert not thread.is_alive() and worker.tally.done == 2 and lines == ["one: done", "two: done"]
    assert sorted(name for name in store.listing() if not name.startswith("workers/driver/")) == [
        "ended.json",
        "lock.json",
        "sources/x/mine.py",
        "trials/one/result",
    ]


def test_a_worker_of_other_versions_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    driver = driver_of(store, tmp_path / "study")
    driver.fetch()
    with driver.driving(), StorePool(WORK, driver, lambda url: [], 60.0) as pool:
        sign = json.loads(store.read("workers/driver.json") or b"")
        sign["versions"]["torch"] = "1.0"
        store.write("workers/driver.json", json.dumps(sign).encode())
        exchange = StoreExchange(store.url)
        with pytest.raises(UnfitError, match=r"other versions than the driver on .*: torch 1\.0 there"):
            JoinedWorker(exchange).run()
        exchange.refuse("it is too old")
        pool._look_at_workers([])
        assert pool.news() == ["warning: a worker does not take part: it is too old"] and pool.news() == []


def test_a_study_that_is_not_there_has_no_workers_and_no_results(store: Store) -> None:
    with pytest.raises(InputError, match="is no study's folder; begin one there: ablate run"):
        StoreExchange(store.url)
    with pytest.raises(InputError, match=r"is no study's folder: there is no lock\.json"):
        ablate.load(store.url)


def test_a_study_in_a_store_is_the_study_of_a_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on where it was begun, and from another machine: nothing is measured again."""
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    spec = study(vary={"backbone.width": [2]}, executor={"type": "local", "in_process": True})

    def records() -> dict[str, str]:
        return {name: found.mark for name, found in store.listing("trials").items() if name.endswith("/trial.jsonl.gz")}

    first = ablate.run(spec, out=store.url, device="cpu", figures=False)
    begun = records()
    assert len(begun) == len(first.trials) == 4
    for machine in ("same", "another"):
        if machine == "another":
            monkeypatch.setenv("ABLATE_STORES", str(tmp_path / "another"))
        again = ablate.run(spec, out=store.url, device="cpu", figures=False)
        assert (again.path == first.path) == (machine == "same")
        assert again.trials.equals(first.trials) and records() == begun
    loaded = ablate.load(store.url)
    assert loaded.path not in (first.path, again.path) and loaded.trials.equals(first.trials)
    assert [name for name in store.listing() if name.endswith("checkpoint/000000000032.safetensors")]
    assert not list(loaded.path.glob("trials/*/checkpoint/*.safetensors"))  # who reads needs no networks
    with pytest.raises(InputError, match="a confirmation is run in a folder of this machine"):
        ablate.run(spec, out=store.url, confirm=1)
    with pytest.raises(InputError, match=r"needs a study's folder that its workers share.*executor='local'"):
        ablate.run(spec, out=store.url, executor="slurm")
