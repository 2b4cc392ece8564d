"""Optuna's study as a ledger: which candidates were asked for, and what they were found to be worth.

Only the public `ask` and `tell`. The sampler is made anew for each question, from the study's seed and
the number of questions before it, so that a resumed study asks what it would have asked.
"""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from ablate.candidates.objectives import Objective
from ablate.candidates.space import Space
from ablate.engine.proposals import Asked, plan_candidates
from ablate.engine.sound import key, mended, same, strange, whole
from ablate.engine.storage import ANEW, open_storage, reading, refusals
from ablate.errors import InputError
from ablate.io.files import write_with
from ablate.kinds.design import Assignment, Design

MOST_REFUSED = 20  # candidates refused, for each that is wanted, after which a search gives up
STUBBORN = 10  # repeats in a row after which chance decides instead of the sampler
MOST_REPEATS = 200  # in a row, after which a search in a space without an end gives up
MOST_LISTED = 2000  # candidates: a space of no more is listed, to find those that are left
WORST = 1e30  # what a diverged candidate is told to be worth: finite, because Optuna refuses NaN


class Ledger:
    """One Optuna study in one SQLite file. Every method raises InputError where the file refuses."""

    def __init__(
        self,
        file: Path,
        name: str,
        space: Space,
        design: Design,
        objectives: Sequence[Objective],
        seed: int,
        constraints: Sequence[str] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._file = file
        self._space = space
        self._design = design
        self._seed = seed
        self._objectives = objectives
        self.constraints = tuple(constraints)
        self._directions: list[Literal["minimize", "maximize"]] = [
            "maximize" if o.larger_is_better else "minimize" for o in objectives
        ]
        self._proposals, self._total = plan_candidates(space, design)
        self.searches = space.proposals(design) is None  # whether a sampler finds the candidates
        self._listed = {key(proposal): i for i, proposal in enumerate(self._proposals)}
        self._open = list(range(len(self._proposals)))  # proposals that were not asked for yet
        self.notes: list[str] = []  # what an earlier run is said to have asked for, and cannot have
        self._waiting = 0  # proposals that an earlier run handed to Optuna and did not come to ask for
        self._asked = 0
        self._refused = 0  # asked for too, but not trained: they are not counted
        self._seen: set[str] = set()  # what was asked for
        self._repeats = 0  # answers that named what had been asked for before: they are not counted
        self._in_a_row = 0  # of these, the last ones
        self._fresh = False  # whether the last answer was none
        self._rest: list[Assignment] | None = None  # what is left of a space that is small; None: not listed
        if self.constraints and space.proposals(design) is None and not hasattr(optuna.trial.Trial, "set_constraint"):
            told = f"a search under constraints needs Optuna 5 or later, here is {optuna.__version__}"
            raise InputError(f"{told}; pip install -U optuna, or take the constraints away", "constraints")
        with refusals(self._file):
            if not file.exists():
                write_with(file, lambda path: self._create(path, name))
        with reading(self._file):
            self._storage = open_storage(file)
            self._study = self._opened(self._storage, name)
            if [direction.name.lower() for direction in self._study.directions] != self._directions:
                raise ValueError("it has other objectives")

    def _opened(self, storage: optuna.storages.RDBStorage, name: str) -> optuna.Study:
        return optuna.create_study(
            study_name=name,
            storage=storage,
            directions=self._directions,
            load_if_exists=True,
        )

    def _create(self, file: Path, name: str, trials: Sequence[FrozenTrial] = ()) -> None:
        """The database, which is put in its place when it is whole.

        Cut short between a table and its index it would lack that for good; and without the one that keeps names
        apart, every further run would begin a second study of the same name.
        """
        storage = open_storage(file)
        study = self._opened(storage, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([objective.name for objective in self._objectives])  # for `ablate dashboard`
        study.add_trials(trials)
        storage.remove_session()
        storage.engine.dispose()

    def replay(self) -> Iterator[Asked]:
        """Yield all candidates of earlier runs, in order (resume).

        One that was cut short while it was asked for is closed.
        """
        with reading(self._file):
            trials = self._sound(self._study.get_trials(deepcopy=False))
        for trial in trials:
            self._settle()
            if "repeat" in trial.user_attrs:
                self._fresh = False
                self._repeats += 1
                self._in_a_row += 1
                if not trial.state.is_finished():
                    self.tell(Asked(trial.number, {}, False), None)
            elif "refused" in trial.user_attrs:
                self._refused += 1
                self._seen.add(key(trial.params))
                self._fresh = True
                if not trial.state.is_finished():
                    self.tell(Asked(trial.number, {}, False), None)
            elif trial.state == TrialState.WAITING:
                if (index := trial.user_attrs.get("proposal")) in self._open:
                    self._open.remove(index)
                self._waiting += 1
            elif whole(trial, self._space):
                self._count(trial)
                asked = Asked(trial.number, dict(trial.params), trial.state.is_finished())
                if self._is_new(asked):
                    yield asked
                else:
                    self.repeat(asked)
            elif not trial.state.is_finished():
                self.tell(Asked(trial.number, {}, False), None)

    def ask(self) -> Asked | None:
        """Ask Optuna for the next candidate; None when the design has no more.

        A search is asked until it names a new one.
        """
        while self.remaining():
            self._settle()
            asked = self._ask()
            if asked is None:
                return None
            if self._is_new(asked):
                return asked
            self.repeat(asked)
        return None

    def _ask(self) -> Asked | None:
        """Ask the sampler, or where it repeats itself again and again, draw at random."""
        number = self._seed * 1_000_003 + self._asked + self._refused + self._repeats
        sampler = self._design.sampler(number)
        with refusals(self._file):
            if self._waiting:
                self._waiting -= 1  # Optuna hands it out before anything else
            elif self._open:
                index = self._open.pop(0)
                self._study.enqueue_trial(dict(self._proposals[index]), user_attrs={"proposal": index})
            elif self._in_a_row >= STUBBORN:
                left = self._left()
                if left == []:
                    return None
                if left is None:
                    sampler = optuna.samplers.RandomSampler(seed=number)
                else:
                    self._study.enqueue_trial(dict(random.Random(number).choice(left)))
            self._study.sampler = sampler
            trial = self._study.ask()
            chosen = self._suggested(trial)
        self._asked += 1
        return Asked(trial.number, chosen, False)

    def _suggested(self, trial: optuna.trial.Trial) -> Assignment:
        try:
            return self._space.suggest(trial)
        except ValueError as error:
            if "dynamic value space" in str(error) or "Cannot set different" in str(error):  # Optuna's own words
                raise InputError(f"holds other choices than the study ({error}) {ANEW}", str(self._file)) from error
            raise

    def _settle(self) -> None:
        """Before the next question: was the last answer a new one?"""
        if self._fresh:
            self._in_a_row = 0

    def _is_new(self, asked: Asked) -> bool:
        """Whether nobody has asked for that yet; what a finite design lists always is."""
        named = key(asked.assignment)
        self._fresh = not self.searches or named not in self._seen
        self._seen.add(named)
        return self._fresh

    def _left(self) -> list[Assignment] | None:
        """Return the candidates that are left of a small space; None where it is not small."""
        if self._rest is None:
            try:
                self._rest = list(itertools.islice(self._space.everything(), MOST_LISTED + 1))
            except OverflowError:
                return None
        if len(self._rest) > MOST_LISTED:
            return None
        self._rest = [one for one in self._rest if key(one) not in self._seen]
        return self._rest

    def repeat(self, asked: Asked) -> None:
        """A candidate that is there already: another one is asked for in its place."""
        if not asked.told:
            with refusals(self._file):
                self._trial(asked.number).set_user_attr("repeat", True)
            self.tell(asked, None)
        self._asked -= 1
        self._repeats += 1
        self._in_a_row += 1
        self._fresh = False

    def tell(self, asked: Asked, values: Sequence[float] | None, excess: Mapping[str, float] | None = None) -> None:
        """Tell Optuna the scores of a candidate: one number an objective, or None where it failed.

        `excess` says by constraint how far it lies beyond it, 0 or less where it keeps it.
        """
        if asked.told:
            return
        with refusals(self._file):
            if values is not None and excess:
                self._constrain(asked.number, excess)
            if values is None:
                self._study.tell(asked.number, state=TrialState.FAIL)
            else:
                self._study.tell(asked.number, list(values))

    def refuse(self, asked: Asked, why: str) -> None:
        """A candidate that is not worth a training, or cannot have one: another one is asked for in its place."""
        if not asked.told:
            with refusals(self._file):
                self._trial(asked.number).set_user_attr("refused", why)
            self.tell(asked, None)
        self._asked -= 1
        self._refused += 1

    def _constrain(self, number: int, excess: Mapping[str, float]) -> None:
        """Optuna's samplers prefer what keeps all constraints, then what is least beyond them."""
        trial = self._trial(number)
        if hasattr(trial, "set_constraint"):  # in Optuna 4 no sampler would read them here
            for name, beyond in excess.items():
                if name not in trial.constraints:  # by a run that was cut short before it told the values
                    trial.set_constraint(name, beyond)

    def _trial(self, number: int) -> optuna.trial.Trial:
        """A trial of the study, to write on."""
        study = self._storage.get_study_id_from_name(self._study.study_name)
        return optuna.trial.Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(study, number))

    def worst(self) -> list[float]:
        """Return the scores of a diverged candidate: ranked last in every objective that is measured."""
        return [-WORST if o.larger_is_better else WORST for o in self._objectives]

    def remaining(self) -> int:
        """Return how many candidates the design will still ask for; none where hardly any goes together."""
        if self._refused > MOST_REFUSED * self._total or self._in_a_row >= MOST_REPEATS:
            return 0
        if self._in_a_row >= STUBBORN and not self._waiting and self._left() == []:
            return 0
        return max(self._total - self._asked, 0)

    def short(self) -> str | None:
        """Why a search ended with fewer candidates than it was to find; None where it has them all, or goes on."""
        if not self.searches or self.remaining():
            return None
        wanted = self._design.candidates(self._space.dimensions)
        if self._asked >= wanted:
            return None
        told = f"the search found {self._asked} different candidates, not {wanted}"
        if self._refused > MOST_REFUSED * self._total:
            return f"{told}: {self._refused} others do not go together or cost too much"
        if self._asked == self._total or self._left() == []:
            beside = f", beside {self._refused} that are refused" if self._refused else ""
            return f"{told}: there are no more in what `vary` spans{beside}"
        return f"{told}: the last {self._in_a_row} answers of its sampler were repeats"

    def unasked(self) -> list[Assignment]:
        """Return the candidates that a finite design will still ask for; a search names none before it asks."""
        return [self._proposals[index] for index in self._open]

    def close(self) -> None:
        """Close the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _count(self, trial: FrozenTrial) -> None:
        self._asked += 1
        index = self._listed.get(key(trial.params), trial.user_attrs.get("proposal"))
        if index in self._open:
            self._open.remove(index)

    def _sound(self, trials: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        """The trials that the study can have asked for; others are noted, and taken out of the file."""
        seen: set[str] = set()
        sound = []
        for trial in trials:
            if (why := strange(trial, self._space, None if self.searches else self._listed, seen)) is None:
                sound.append(trial)
            else:
                self.notes.append(f"{self._file}: its trial {trial.number} {why}; it is left out")
            if whole(trial, self._space):
                seen.add(key(trial.params))
        if len(sound) < len(trials):
            self._write_anew(sound)
            return self._study.get_trials(deepcopy=False)
        return trials

    def enrol(self, assignment: Assignment) -> Asked:
        """A candidate that has records and that nobody asked for here, as where the file was lost: now it was."""
        with refusals(self._file):
            self._study.enqueue_trial(dict(assignment))
            trial = self._study.ask()
            chosen = self._space.suggest(trial)
        self._asked += 1
        asked = Asked(trial.number, chosen, False)
        self._is_new(asked)
        self._settle()
        return asked

    def correct(self, worth: Mapping[int, Sequence[float]]) -> list[int]:
        """Set right what candidates are said to be worth: {number: what their records say}; those that were wrong.

        Optuna's own trials, once told, cannot be changed: where one is wrong, the file is written anew.
        """
        with refusals(self._file):
            trials = self._study.get_trials(deepcopy=False)
            wrong = [t.number for t in trials if t.number in worth and not same(t, worth[t.number])]
            if not wrong:
                return []
            self._write_anew([mended(t, worth.get(t.number)) for t in trials])
        return wrong

    def _write_anew(self, trials: Sequence[FrozenTrial]) -> None:
        """The file with these trials in it."""
        name = self._study.study_name
        self.close()
        write_with(self._file, lambda path: self._create(path, name, trials))
        self._storage = open_storage(self._file)
        self._study = self._opened(self._storage, name)
