"""The dispatcher's policy (retry, alone, smaller, what ends a run), by a pool that ends jobs as a script says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ablate.engine import Dispatcher, Watchdog
from ablate.engine.dispatch import RETRIES
from ablate.errors import InputError
from ablate.kinds.executor import Pool, Report

DONE, LOST, OOM = {"status": "done"}, {"status": "lost", "message": "killed"}, {"status": "oom", "message": "full"}
FAILED = {"status": "failed", "message": "ZeroDivisionError"}


class Script(Pool):
    """Ends the oldest running job at each look, by the next of its reports."""

    def __init__(self, slots: int, reports: dict[str, list[Report]]) -> None:
        self.slots = slots
        self.reports = reports
        self.running: list[str] = []
        self.begun: list[tuple[str, int, int]] = []  # job, its size, how many ran when it began, itself included

    def submit(self, job: Any) -> None:
        assert len(self.running) < self.slots
        self.running.append(job["job"])
        self.begun.append((job["job"], job["size"], len(self.running)))

    def wait(self, timeout: float) -> list[Report]:
        name = self.running.pop(0)
        return [{"job": name, **self.reports[name].pop(0)}]

    def close(self) -> None:
        pass


def smaller(job: dict[str, Any], report: Report) -> dict[str, Any] | None:
    return {**job, "size": job["size"] // 2} if job["size"] > 1 else None


def run(pool: Pool, jobs: str, lines: list[str] | None = None, **more: Any) -> dict[str, str]:
    """How each job ended for good."""
    watchdog = more.pop("watchdog", Watchdog(None))
    dispatcher: Dispatcher[dict[str, Any]] = Dispatcher(
        pool,
        watchdog,
        ([] if lines is None else lines).append,
        name=lambda job: job["job"],
        activity=lambda job: "while it ran",
        smaller=smaller,
        resumed="again",
        **more,
    )
    dispatcher.add({"job": name, "folder": f"/nowhere/{name}", "size": 4} for name in jobs)
    return {job["job"]: report["status"] for job, report in dispatcher.run()}


@pytest.mark.parametrize(
    ("slots", "reports", "ended", "begun"),
    [
        pytest.param(2, {"a": [FAILED], "b": [DONE]}, {"a": "failed", "b": "done"}, "a4/1 b4/2", id="fails once"),
        pytest.param(1, {"a": [LOST, DONE], "b": [DONE]}, {"a": "done", "b": "done"}, "a4/1 a4/1 b4/1", id="lost"),
        pytest.param(
            1, {"a": [LOST] * (RETRIES + 1)}, {"a": "lost"}, " ".join(["a4/1"] * (RETRIES + 1)), id="lost too often"
        ),
        pytest.param(
            1, {"a": [OOM, OOM, DONE], "b": [DONE]}, {"a": "done", "b": "done"}, "a4/1 a2/1 a1/1 b4/1", id="smaller"
        ),
        pytest.param(1, {"a": [OOM] * 3}, {"a": "oom"}, "a4/1 a2/1 a1/1", id="cannot be smaller"),
        pytest.param(
            2,
            {"a": [OOM, OOM, DONE], "b": [OOM, DONE], "c": [DONE]},
            {"c": "done", "a": "done", "b": "done"},
            "a4/1 b4/2 c4/2 a4/1 a2/1 b4/1",
            id="two beside each other, then each alone",
        ),
    ],
)
def test_each_end_of_a_job_has_its_remedy(
    slots: int, reports: dict[str, list[Report]], ended: dict[str, str], begun: str
) -> None:
    pool = Script(slots, {name: list(of) for name, of in reports.items()})
    assert run(pool, "".join(reports)) == ended
    assert " ".join(f"{name}{size}/{beside}" for name, size, beside in pool.begun) == begun


@pytest.mark.parametrize(
    ("report", "raised", "message"),
    [
        ({"status": "failed", "message": "full", "errno": 28}, OSError, "No space left.*nowhere/a"),
        ({"status": "failed", "message": "data", "other_data": "data 'x': 1, 2"}, InputError, "found other data"),
        (
            {
                "status": "failed",
                "message": "source",
                "other_source": [{"component": "c", "wanted": "1", "found": "2", "file": "f", "host": "h"}],
            },
            InputError,
            "other source code",
        ),
    ],
)
def test_what_no_other_job_would_fare_better_with_ends_the_run(
    report: Report, raised: type[Exception], message: str
) -> None:
    pool = Script(1, {"a": [report], "b": [DONE]})
    with pytest.raises(raised, match=message):
        run(pool, "ab")
    assert [name for name, _, _ in pool.begun] == ["a"]


def test_more_jobs_are_asked_for_when_a_worker_waits_and_not_before() -> None:
    pool = Script(2, {name: [DONE] for name in "abc"})
    running: list[int] = []  # how many ran when it was asked

    def more() -> bool:
        running.append(len(pool.running))
        return False

    assert list(run(pool, "abc", more=more)) == ["a", "b", "c"]
    assert running == [1, 0]
    for apart in (True, False):  # while a network is trained in this process, none is built in it
        pool, queued = Script(2, {name: [DONE] for name in "abc"}), list[int]()
        pool.apart = apart
        assert list(run(pool, "abc", ahead=lambda at=pool, to=queued: to.append(len(at.running)))) == ["a", "b", "c"]
        assert queued == ([2, 1] if apart else [])  # not while one waits for a worker


def test_silence_that_the_pool_cannot_end_is_told_once(tmp_path: Any) -> None:
    (tmp_path / "sign").touch()
    clock, lines, looks = itertools.count(0.0, 20.0), [], itertools.count()

    class Late(Script):
        def wait(self, timeout: float) -> list[Report]:
            if next(looks) == 0:
                (tmp_path / "sign").unlink()  # a change: a worker has it
            return [] if next(looks) < 20 else super().wait(timeout)

    watchdog = Watchdog(60.0, lambda: next(clock), lambda job: [tmp_path / "sign"])
    assert run(Late(1, {"a": [DONE]}), "a", lines, watchdog=watchdog) == {"a": "done"}
    assert sum("no sign of life" in line and "cannot end it" in line for line in lines) >= 1
