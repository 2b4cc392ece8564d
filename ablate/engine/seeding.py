"""The seeds that are added to those of the design: what the study's seeding is shown, and whom it names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ablate.candidates.objectives import KNOWN_BEFOREHAND, Constraint, Objective
from ablate.engine.score import Group, mean
from ablate.errors import InputError
from ablate.kinds.design import Assignment, Design
from ablate.kinds.looks import Looks
from ablate.kinds.seeding import Race, Seeding
from ablate.worker import records


@dataclass
class Runner:
    """One candidate with all of its seeds: the design's, and those that were added, in order, a group each."""

    group: Group
    added: list[Group]
    most: int

    @property
    def groups(self) -> list[Group]:
        """Those of the design's seeds, and each added one."""
        return [self.group, *self.added]

    @property
    def ended(self) -> bool:
        """Whether all of the design's seeds have come to their end: none is paused, and none failed."""
        return self.group.complete and all(record is not None for record in self.group.records.values())

    @property
    def seeds(self) -> int:
        """How many there are, ended or not."""
        return len(self.group.trials) + len(self.added)

    @property
    def busy(self) -> bool:
        """Whether a seed waits or runs."""
        return any(not group.at_rest for group in self.groups)

    @property
    def diverged(self) -> bool:
        """Whether a seed diverged."""
        return any(group.diverged for group in self.groups)

    @property
    def able(self) -> bool:
        """Whether it can get a further seed, now or later."""
        failed = any(group.complete and None in group.records.values() for group in self.added)
        return self.ended and not failed and not self.diverged and self.seeds < self.most


class Seeds:
    """Asks the study's seeding for further seeds, once every candidate has come to the end of those of the design."""

    def __init__(
        self,
        seeding: Seeding | None,
        design: Design,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        baseline: Assignment,
    ) -> None:
        self._seeding, self._design, self._baseline = seeding, design, baseline
        measured = [o for o in objectives if o.column not in KNOWN_BEFOREHAND]
        self._quality = sorted(measured, key=lambda o: o.is_cost)  # first what verdicts are about
        self._cost = [o for o in objectives if o.column in KNOWN_BEFOREHAND]
        self._constraints = constraints
        self._runners: dict[str, Runner] = {}  # by a candidate's first trial

    @cached_property
    def looks(self) -> Looks | None:
        """The looks at the pairs of seeds; None where no seed is added."""
        return None if self._seeding is None else self._seeding.looks(self._design.seeds)

    def new(self, groups: Mapping[str, Sequence[Group]]) -> Iterator[Group]:
        """Yield the candidates that it did not know yet, and take them up; of two that are one and the same, one."""
        if self.looks is None:
            return
        for group in sorted(itertools.chain.from_iterable(groups.values()), key=self._place):
            if not group.added and group.trials[0] not in self._runners:
                self._runners[group.trials[0]] = Runner(group, [], self.looks.most)
                yield group

    def further(self, group: Group) -> range:
        """Return the seeds that may be added to a candidate, in order."""
        first = self._design.first_seed
        return range(first + len(group.trials), first + self._runners[group.trials[0]].most)

    def add(self, group: Group, extra: Group) -> None:
        """Note one more seed of a candidate, in order."""
        self._runners[group.trials[0]].added.append(extra)

    def next(self) -> tuple[Group, int] | None:
        """Return the candidate that gets a further seed, and the seed; None: nobody, for now.

        Raises InputError where the seeding names one that cannot get one.
        """
        if self.looks is None or self._seeding is None or any(not r.group.at_rest for r in self._runners.values()):
            return None
        runners = sorted(self._runners.values(), key=lambda runner: runner.group.entry.number)
        number = self._seeding.next(self.race(runners))
        if number is None:
            return None
        runner = next((r for r in runners if r.group.entry.number == number), None)
        if runner is None or not runner.able or runner.busy:
            where = f"seeding {self._seeding.name!r}"
            raise InputError(f"adds a seed to candidate {number}, which cannot get one now", where)
        return runner.group, self._design.first_seed + runner.seeds

    def undone(self, why: str | None) -> str | None:
        """Return that further seeds would be added, were there room for them. why: the bound that is reached."""
        if why is None or self.next() is None:
            return None
        return f"the study's total is used up ({why}): comparisons are open; with more, seeds are added"

    def race(self, runners: Iterable[Runner]) -> Race:
        """Return what the seeding decides by."""
        looks = self.looks
        assert looks is not None
        rows = list(runners)
        quality = np.full((len(rows), looks.most, len(self._quality)), np.nan)
        for i, runner in enumerate(rows):
            trials = [(group, trial) for group in runner.groups for trial in group.trials][: looks.most]
            for j, (group, trial) in enumerate(trials):
                record = group.records.get(trial)
                if record is not None and record["state"] == records.COMPLETE:
                    values = [objective.value(record) for objective in self._quality]
                    quality[i, j] = [
                        np.nan if value is None else objective.sign * value
                        for objective, value in zip(self._quality, values, strict=True)
                    ]
        base = [i for i, r in enumerate(rows) if r.group.entry.assignment == self._baseline and not r.diverged]
        return Race(
            looks,
            np.array([runner.group.entry.number for runner in rows], dtype=np.int64),
            quality,
            np.array([self._costs(runner) for runner in rows]).reshape(len(rows), len(self._cost)),
            base[0] if base else None,
            np.array([not r.diverged and not self._broken(r) for r in rows], dtype=bool),
            np.array([runner.able for runner in rows], dtype=bool),
            np.array([runner.busy for runner in rows], dtype=bool),
        )

    def _costs(self, runner: Runner) -> list[float]:
        """Return the costs known before training, the same for all seeds; NaN, which nobody dominates, without one."""
        values = [o.value(record) for o in self._cost for record in runner.group.measured[:1]]
        if len(values) < len(self._cost):
            return [np.nan] * len(self._cost)
        return [np.nan if v is None else o.sign * v for o, v in zip(self._cost, values, strict=True)]

    def _broken(self, runner: Runner) -> bool:
        """Return whether a constraint is broken by the mean of the seeds so far."""
        measured = [record for group in runner.groups for record in group.measured]
        means = [(constraint, mean(constraint.of, measured)) for constraint in self._constraints]
        return any(value is not None and constraint.excess(value) > 0 for constraint, value in means)

    def _place(self, group: Group) -> tuple[bool, int]:
        """Return the order of candidates: the baseline first."""
        return group.entry.assignment != self._baseline, group.entry.number
