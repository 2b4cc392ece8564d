"""Checks of a seeding: it names who can get a seed, decides by what it is given alone, and comes to an end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ablate.kinds.looks import FEWEST, Looks
from ablate.kinds.seeding import Race, Seeding
from ablate.testing.case import Case, Check, NotApplicable

CANDIDATES = 6
APART = 20.0  # standard deviations between candidates whose order nobody doubts
PARTS = ("numbers", "quality", "cost", "contends", "able", "busy")


def looks_from_the_seeds_of_the_design(case: Case) -> None:
    """The first look is at the design's seeds, and the looks are the same each time."""
    for part in _adding(case):
        looks = part.looks(FEWEST)
        assert looks is not None and looks.first == FEWEST, f"{part!r}: of {FEWEST} seeds its first look is {looks}"
        assert looks == part.looks(FEWEST), f"{part!r}: gives other looks each time"


def names_who_can_get_one(case: Case) -> None:
    """Whom it names can get a further seed now: it is able, and nothing of it waits or runs."""
    for part in _adding(case):
        for race, number in _decisions(part, workers=3):
            rows = [] if number is None else np.flatnonzero(race.numbers == number).tolist()
            assert number is None or rows, f"{part!r}: names {number!r}, which is no candidate"
            for row in rows:
                assert race.able[row] and not race.busy[row], f"{part!r}: names {number}, which cannot get a seed now"


def decides_alike(case: Case) -> None:
    """From the same numbers the same decision follows, and they are not changed: a resumed study decides alike."""
    for part in _adding(case):
        for race, _ in _decisions(part):
            before = [np.copy(getattr(race, name)) for name in PARTS]
            assert part.next(race) == part.next(race), f"{part!r}: decides otherwise with the same numbers"
            same = [
                np.array_equal(getattr(race, n), b, equal_nan=n == "quality")
                for n, b in zip(PARTS, before, strict=True)
            ]
            assert all(same), f"{part!r}: changes the numbers that it is given"


def takes_all_sorts_of_studies(case: Case) -> None:
    """It decides with one objective or several, with a cost or without, without a baseline, and with equal values."""
    for part in _adding(case):
        for quality, cost in ((1, 0), (1, 1), (3, 1), (2, 2)):
            for _ in _decisions(part, quality=quality, cost=cost):
                pass
        for _ in _decisions(part, apart=0.0, spread=0.0):
            pass
        for _ in _decisions(part, baseline=None):
            pass
        for _ in _decisions(part, count=1):
            pass


def comes_to_an_end(case: Case) -> None:
    """Where nothing can be told it comes to an end all the same; where something may be, it adds seeds."""
    for part in _adding(case):
        looks = part.looks(FEWEST)
        assert looks is not None
        *_, (_, number) = _decisions(part, apart=0.0)
        assert number is None, f"{part!r}: adds seeds without end"
        *_, (race, _) = _decisions(part)
        assert race.seeds.max() > FEWEST or looks.most == FEWEST, f"{part!r}: adds no seed where something is open"


def spends_nothing_on_what_is_decided(case: Case) -> None:
    """Candidates that lie far apart, and of which nothing is open, get no further seed."""
    for part in _adding(case):
        *_, (race, _) = _decisions(part, apart=APART, cost=0, seeds=8)
        assert race.seeds.max() <= 9, f"{part!r}: adds seeds where nothing is open: {race.seeds.tolist()}"


def _adding(case: Case) -> list[Seeding]:
    parts = [part for part in case.variants() if isinstance(part, Seeding) and _looks(part, FEWEST) is not None]
    if not parts:
        raise NotApplicable("it adds no seeds")
    return parts


def _looks(part: Seeding, seeds: int) -> Looks | None:
    try:
        return part.looks(seeds)
    except ValueError:
        return None


def _decisions(
    part: Seeding,
    quality: int = 1,
    cost: int = 1,
    apart: float = 1.0,
    spread: float = 1.0,
    baseline: int | None = 0,
    count: int = CANDIDATES,
    seeds: int = FEWEST,
    workers: int = 1,
) -> Iterator[tuple[Race, int | None]]:
    """Play a study, and yield what the seeding was given and what it decided, until it names nobody.

    The last candidate has a seed that diverged. apart: from each candidate to the next, in deviations; workers: seeds
    that run at a time.
    """
    looks = _looks(part, seeds)
    if looks is None:
        return
    draws = np.random.default_rng(0)
    values = apart * np.arange(count)[:, None, None] + spread * draws.standard_normal((count, looks.most, quality))
    costs = draws.random((count, cost))
    had = np.full(count, looks.first)
    running: list[int] = []
    lost = np.arange(count) == (count - 1 if count > 1 else -1)
    numbers = 3 * np.arange(count) + 1

    def race() -> Race:
        seen = values.copy()
        busy = np.isin(np.arange(count), running)
        for row in range(count):
            seen[row, had[row] - int(busy[row]) - int(lost[row]) :] = np.nan
        able: NDArray[np.bool_] = ~lost & (had < looks.most)
        return Race(looks, numbers, seen, costs, baseline, ~lost, able, busy)

    for _ in range(2 * count * looks.most + 1):
        given = race()
        number = part.next(given)
        yield given, number
        if number is not None and number in numbers:
            row = int(np.flatnonzero(numbers == number)[0])
            if not given.able[row] or given.busy[row]:
                return
            had[row] += 1
            running.append(row)
        elif not running:
            return
        if number is None or len(running) >= workers:
            running.pop(0)


CHECKS: tuple[Check, ...] = (
    looks_from_the_seeds_of_the_design,
    names_who_can_get_one,
    decides_alike,
    takes_all_sorts_of_studies,
    comes_to_an_end,
    spends_nothing_on_what_is_decided,
)
