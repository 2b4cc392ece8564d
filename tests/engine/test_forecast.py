"""How long a study will still take, on a clock of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from studies_for_tests import Driver, study

from ablate.engine.forecast import SOON, Forecast
from ablate.engine.progress import Running
from ablate.kinds.design import Assignment

FLOPS: dict[Any, float] = {"small": 1e9, "middle": 5e9, "large": 100e9}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def of(size: str) -> Assignment:
    return {"size": size}


def candidate(assignment: Assignment) -> Any:
    """All that a forecast wants of a candidate is that it can be counted."""
    return assignment["size"]


def flops(size: Any) -> float:
    """Raises KeyError for what nobody can count."""
    return FLOPS[size]


def running(trial: str, share: float) -> Running:
    return Running(trial, "", 0, "train", int(1000 * share), 1000, None, None)


def takes(size: str) -> float:
    """Seconds of a trial: 2 for what each costs alike, 1 a gigaflop."""
    return 2.0 + FLOPS[size] / 1e9


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def forecast(clock: Clock) -> Forecast:
    new = Forecast(candidate, flops, slots=2, clock=clock)
    for size in ("small", "middle"):
        new.opened(candidate(of(size)), [f"{size}-s0", f"{size}-s1"])
    return new


def test_nothing_is_told_before_anything_is_known(forecast: Forecast) -> None:
    forecast.begun("small-s0")
    assert forecast.left({}, [running("small-s0", 0.05)], ["small-s1"], [], 0, 2) is None


def test_what_ended_tells_of_what_is_larger(forecast: Forecast) -> None:
    records = {f"{size}-s0": {"seconds": takes(size)} for size in ("small", "middle")}
    forecast.foresee([of("large")])
    seconds = forecast.left(records, [], ["small-s1", "middle-s1"], [of("large")], 1, 2)
    assert seconds == pytest.approx((takes("small") + takes("middle") + 2 * takes("large")) / 2)


def test_the_last_one_works_alone(forecast: Forecast) -> None:
    records = {f"{size}-s0": {"seconds": takes(size)} for size in ("small", "middle")}
    assert forecast.left(records, [], ["middle-s1"], [], 0, 2) == pytest.approx(takes("middle"))


def test_what_runs_is_counted_by_what_remains_of_it(forecast: Forecast, clock: Clock) -> None:
    records = {f"{size}-s0": {"seconds": takes(size)} for size in ("small", "middle")}
    forecast.begun("middle-s1")
    clock.now = 3.0
    at_work = [running("middle-s1", 0.5)]
    assert forecast.left(records, at_work, [], [], 0, 2) == pytest.approx(takes("middle") - 3.0)
    clock.now = 60.0  # slower than the others: nearly there
    assert forecast.left(records, at_work, [], [], 0, 2) == pytest.approx(SOON * takes("middle"))


def test_before_anything_ended_the_speed_of_what_runs_tells(forecast: Forecast, clock: Clock) -> None:
    forecast.begun("small-s0")
    clock.now = 4.0
    seconds = forecast.left({}, [running("small-s0", 0.5)], ["middle-s0"], [], 0, 2)
    assert seconds == pytest.approx(8.0 * FLOPS["middle"] / FLOPS["small"])  # longer than both halves of the work


def test_where_time_is_the_budget_it_is_known_from_the_start(clock: Clock) -> None:
    """8 minutes of training each; what sampling takes is learnt, and told on top."""
    forecast = Forecast(candidate, flops, slots=1, clock=clock, training=480.0)
    for size in ("small", "middle"):
        forecast.opened(candidate(of(size)), [f"{size}-s0"])
    forecast.begun("small-s0")

    def at(seconds: float) -> Running:
        return Running("small-s0", "", 0, "train", 70_000, None, None, None, seconds, 480.0)

    soon = SOON * 480
    assert forecast.left({}, [at(0.0)], ["middle-s0"], [], 0, 1) == pytest.approx(960 + soon)
    clock.now = 240.0
    assert at(240.0).share == 0.5
    assert forecast.left({}, [at(240.0)], ["middle-s0"], [], 0, 1) == pytest.approx(720 + soon)
    records = {"middle-s0": {"seconds": 480 + 5.0}}  # 1 s a gigaflop, through the origin
    assert forecast.left(records, [at(470.0)], [], [], 0, 1) == pytest.approx(10 + 1)
    assert forecast.left(records, [], ["middle-s0"], [], 0, 1) == pytest.approx(485)
    assert forecast.left(records, [], ["small-s0"], [], 2, 1) == pytest.approx(
        481 + 2 * 483
    )  # what a sampler will find is the average


def test_what_cannot_be_counted_is_taken_for_the_average(forecast: Forecast) -> None:
    records = {f"{size}-s0": {"seconds": takes(size)} for size in ("small", "middle")}
    average = (takes("small") + takes("middle")) / 2
    forecast.opened(candidate(of("broken")), ["broken-s0"])
    forecast.foresee([of("broken")])
    assert forecast.left(records, [], ["broken-s0"], [], 0, 1) == pytest.approx(average)
    assert forecast.left(records, [], [], [of("broken")], 1, 1) == pytest.approx(average)
    assert forecast.left(records, [], [], [], 4, 1) == pytest.approx(4 * average / 2)  # a sampler will find them


def test_one_candidate_is_counted_at_a_time() -> None:
    looked: list[Assignment] = []

    def slow(assignment: Assignment) -> Any:
        looked.append(assignment)
        return candidate(assignment)

    forecast = Forecast(slow, flops, slots=1)
    unasked = [of("small"), of("middle")]
    forecast.foresee(unasked)
    assert looked == unasked[:1]
    for _ in range(3):
        forecast.foresee(unasked)
    assert looked == unasked


def test_a_study_is_told_how_long(tmp_path: Path) -> None:
    driver = Driver(tmp_path, study())
    driver.run()
    estimates = [progress.seconds_left for progress in driver.progress]
    assert estimates[-1] is None
    numbers = [seconds for seconds in estimates[:-1] if seconds is not None]
    assert numbers and all(0 <= seconds < 600 for seconds in numbers)
