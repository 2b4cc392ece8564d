"""Checks of a fidelity: it promotes who is paused, decides by what it is given alone, and comes to an end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ablate.kinds.fidelity import Fidelity, Rung
from ablate.testing.case import Case, Check, NotApplicable

CANDIDATES = 40
FEW = 16  # candidates where it is asked many times over, and not whom it prefers
BETTER = 1.0  # by so much a candidate of the good half is better than one of the bad half


def pauses_within_the_budget(case: Case) -> None:
    """Rungs are shares of the budget, ascending between 0 and 1, and the same each time."""
    for part in _variants(case):
        rungs = part.rungs()
        assert all(0 < share < 1 for share in rungs), f"{part!r}: rungs {rungs} are not all between 0 and 1"
        assert list(rungs) == sorted(set(rungs)), f"{part!r}: rungs {rungs} do not ascend"
        assert rungs == part.rungs(), f"{part!r}: gives other rungs each time"


def promotes_who_is_paused(case: Case) -> None:
    """Whom it promotes is paused at some rung, and has not gone on from there."""
    for part in _with_rungs(case):
        for rungs, number in _decisions(part):
            if number is None:
                continue
            own = [rung for rung in rungs if number in rung.numbers]
            assert own, f"{part!r}: promotes candidate {number}, which was measured at no rung"
            last = own[-1]
            assert not last.promoted[list(last.numbers).index(number)], f"{part!r}: promotes {number} twice"


def decides_alike(case: Case) -> None:
    """From the same numbers the same decision follows, and they are not changed: a resumed study decides alike."""
    for part in _with_rungs(case):
        for rungs, number in _decisions(part, count=FEW):
            before = [(rung.quality.copy(), rung.cost.copy(), rung.promoted.copy()) for rung in rungs]
            again = part.promote(rungs, False)
            assert again == part.promote(rungs, False), f"{part!r}: decides otherwise with the same numbers"
            for rung, arrays in zip(rungs, before, strict=True):
                same = all(map(np.array_equal, (rung.quality, rung.cost, rung.promoted), arrays))
                assert same, f"{part!r}: changes the numbers that it is given"
            assert number is None or again is None or isinstance(again, int), f"{part!r}: gives {again!r}"


def takes_all_sorts_of_objectives(case: Case) -> None:
    """It decides with one measured objective or several, with a cost or without, and with equal values."""
    for part in _with_rungs(case):
        for quality, cost in ((1, 0), (1, 1), (3, 1), (2, 2)):
            for _ in _decisions(part, quality, cost, count=FEW):
                pass
        for _ in _decisions(part, equal=True, count=FEW):
            pass


def comes_to_an_end(case: Case) -> None:
    """A study ends, with somebody trained to the end of the budget, and with less compute than all of them take."""
    for part in _with_rungs(case):
        decisions = list(_decisions(part))
        ended = sum(number is not None and number in rungs[-1].numbers for rungs, number in decisions)
        assert 0 < ended < CANDIDATES, f"{part!r}: trains {ended} of {CANDIDATES} candidates to the end"
        share = part.share(CANDIDATES)
        assert 0 < share < 1, f"{part!r}: says that {CANDIDATES} candidates take {share:g} of the compute"


def prefers_the_better(case: Case) -> None:
    """Of two halves of which one is better at every rung, it trains more of the better one to the end."""
    for part in _with_rungs(case):
        ended = [
            number for rungs, number in _decisions(part, cost=0) if number is not None and number in rungs[-1].numbers
        ]
        good = sum(number % 2 == 0 for number in ended)
        assert good > len(ended) / 2, f"{part!r}: of {len(ended)} trained to the end {good} are of the better half"


def _variants(case: Case) -> list[Fidelity]:
    return [part for part in case.variants() if isinstance(part, Fidelity)]


def _with_rungs(case: Case) -> list[Fidelity]:
    parts = [part for part in _variants(case) if part.rungs()]
    if not parts:
        raise NotApplicable("it pauses nobody")
    return parts


def _decisions(
    part: Fidelity, quality: int = 1, cost: int = 1, equal: bool = False, count: int = CANDIDATES
) -> Iterator[tuple[tuple[Rung, ...], int | None]]:
    """Play a study with one worker, and yield what the fidelity was given and what it decided.

    Candidates with even numbers are better. After each measurement it is asked until it promotes nobody.
    """
    draws = np.random.default_rng(0)
    spread = 0.0 if equal else 1.0
    costs = spread * draws.random((count, cost))
    worse = BETTER * (np.arange(count) % 2)[:, None]
    shares = part.rungs()
    values = [worse + spread * (draws.random((count, quality)) + 1 / share) for share in shares]
    reached = [0] * count  # rungs at which a candidate was measured

    def rungs(begun: int) -> tuple[Rung, ...]:
        made = []
        for i, share in enumerate(shares):
            numbers = np.array([n for n in range(begun) if reached[n] > i], dtype=np.int64)
            gone = np.array([wanted[n] > i for n in numbers], dtype=bool)
            ended = np.array([wanted[n] == len(shares) for n in numbers], dtype=bool)[:, None]
            end = np.where(ended, values[-1][numbers], np.nan)
            made.append(Rung(share, numbers, values[i][numbers], costs[numbers], gone, end))
        return tuple(made)

    wanted = [0] * count  # rungs to which a candidate was let go on
    for number in range(count):
        reached[number] = 1
        closing = number == count - 1
        for _ in range(count * len(shares) + 1):
            given = rungs(number + 1)
            chosen = part.promote(given, False)
            if chosen is None and closing:
                chosen = part.promote(given, True)
            yield given, chosen
            if chosen is None:
                break
            wanted[chosen] += 1
            reached[chosen] = min(wanted[chosen] + 1, len(shares))
        else:
            raise AssertionError(f"{part!r}: lets candidates go on without end")


CHECKS: tuple[Check, ...] = (
    pauses_within_the_budget,
    promotes_who_is_paused,
    decides_alike,
    takes_all_sorts_of_objectives,
    comes_to_an_end,
    prefers_the_better,
)
