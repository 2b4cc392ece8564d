"""The ledger, an Optuna study: which candidates were asked for, and their scores.

Only Optuna's public `ask` and `tell` are used. The sampler is made anew for each candidate, from the study's seed and
the number of candidates before it, so that a resumed study asks for what it would have asked for.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from ablate.candidates.objectives import KNOWN_BEFOREHAND, Objective
from ablate.candidates.space import Space
from ablate.engine.proposals import Entry, plan_candidates
from ablate.engine.sound import has_values, is_complete, key, problem_of, with_values
from ablate.engine.storage import ANEW, Store, StudyFile, reading, refusals
from ablate.errors import InputError
from ablate.io.files import digest
from ablate.kinds.design import CUT_SHORT, Assignment, Design
from ablate.kinds.start import START, apart_from_parent

MOST_REFUSED = 20  # candidates refused, for each that the design has, after which a search gives up
STUBBORN = 10  # repeats in a row after which chance decides instead of the sampler
MOST_REPEATS = 200  # in a row, after which a search in a space without an end gives up
MOST_LISTED = 2000  # candidates: a space of no more is listed, to find those that are left
WORST = 1e30  # score of a diverged candidate: finite, because Optuna refuses NaN


class Ledger:
    """One Optuna study in one SQLite file, or where `store` has it. Methods raise InputError where it refuses."""

    def __init__(
        self,
        file: Path,
        name: str,
        space: Space,
        design: Design,
        objectives: Sequence[Objective],
        seed: int,
        constraints: Sequence[str] = (),
        share: float | None = None,
        store: Store | Callable[[Sequence[Objective], Sequence[str]], Store] | None = None,
        heir: Callable[[int], str | None] = lambda parent: None,
    ) -> None:
        """Open the ledger. share: of the budget, at which scores are taken; None: at its end. store: None: the file.

        heir: of a design that inherits, the word for the start of a child of the candidate of that number; None where
        that has no weights.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._file = file
        self._space = space
        self._design = design
        self._heir = heir
        self._seed = seed
        self._objectives = objectives
        self.constraints = tuple(constraints)
        self._proposals, self._total = plan_candidates(space, design)
        self.searches = space.proposals(design) is None  # whether a sampler finds the candidates
        self._indices = {key(proposal): i for i, proposal in enumerate(self._proposals)}
        self._open = list(range(len(self._proposals)))  # proposals that were not asked for yet
        self.notes: list[str] = []  # trials of an earlier run that the study cannot have asked for
        self._waiting = 0  # proposals that an earlier run enqueued and did not come to ask for
        self._count = 0  # candidates that were asked for
        self._refused = 0  # candidates that were not trained: they are not counted
        self._seen: set[str] = set()  # keys of all that was asked for
        self._repeats = 0  # candidates that had been asked for before: they are not counted
        self._repeats_in_a_row = 0  # the last ones of these
        self._last_is_new = False  # whether the last candidate was no repeat
        self._unseen: list[Assignment] | None = None  # what a small space still has; None: not listed
        labels = [_score_name(objective, share) for objective in objectives]
        if callable(store):
            with refusals(file):
                store = store(objectives, labels)
        self._store: Store = store or StudyFile(file, name, objectives, labels)

    @property
    def _study(self) -> optuna.Study:
        return self._store.study

    def replay(self) -> Iterator[Entry]:
        """Yield all candidates of earlier runs, in order (resume).

        One that was cut short while it was asked for is closed.
        """
        with reading(self._file):
            trials = self._valid_trials(self._study.get_trials(deepcopy=False))
            promotions = self._study.user_attrs
        for trial in trials:
            self._end_row()
            if "repeat" in trial.user_attrs:
                self._last_is_new = False
                self._repeats += 1
                self._repeats_in_a_row += 1
                if not trial.state.is_finished():
                    self.tell(Entry(trial.number, {}, False), None)
            elif "refused" in trial.user_attrs:
                self._refused += 1
                self._seen.add(key(trial.params))
                self._last_is_new = True
                if not trial.state.is_finished():
                    self.tell(Entry(trial.number, {}, False), None)
            elif trial.state == TrialState.WAITING:
                if (index := trial.user_attrs.get("proposal")) in self._open:
                    self._open.remove(index)
                self._waiting += 1
            elif is_complete(trial, self._space):
                self._take_from_open(trial)
                until = promotions.get(_promotion(trial.params))
                start = trial.user_attrs.get(START)
                entry = Entry(trial.number, dict(trial.params), trial.state.is_finished(), until, start)
                if self._is_new(entry):
                    yield entry
                else:
                    self.repeat(entry)
            elif not trial.state.is_finished():
                with refusals(self._file):
                    self._store.trial(trial.number).set_user_attr(CUT_SHORT, True)
                self.tell(Entry(trial.number, {}, False), None)

    def ask(self) -> Entry | None:
        """Ask Optuna for the next candidate; None when the design has no more.

        A search is asked until it names a new one.
        """
        while self.remaining():
            self._end_row()
            entry = self._ask()
            if entry is None:
                return None
            if self._is_new(entry):
                return entry
            self.repeat(entry)
        return None

    def _ask(self) -> Entry | None:
        """Ask the sampler, or where it repeats itself again and again, draw at random."""
        seed = self._seed * 1_000_003 + self._count + self._refused + self._repeats
        sampler, decides = self._design.sampler(seed), False
        with refusals(self._file):
            if self._waiting:
                self._waiting -= 1  # Optuna hands it out before anything else
            elif self._open:
                index = self._open.pop(0)
                self._study.enqueue_trial(dict(self._proposals[index]), user_attrs={"proposal": index})
            elif self._repeats_in_a_row >= STUBBORN:
                candidates = self._unseen_candidates()
                if candidates == []:
                    return None
                if candidates is None:
                    sampler = optuna.samplers.RandomSampler(seed=seed)
                else:
                    self._study.enqueue_trial(dict(random.Random(seed).choice(candidates)))
            else:
                decides = self._design.inherits
            self._study.sampler = sampler
            trial = self._study.ask()
            start = trial.user_attrs.get(START)  # of one that was enqueued
            if decides and (start := self._inherited(trial, sampler)) is not None:
                trial.set_user_attr(START, start)  # before its choices: a trial without them is asked for anew
            assignment = self._suggest(trial)
        self._count += 1
        return Entry(trial.number, assignment, False, start=start)

    def _inherited(self, trial: optuna.trial.Trial, sampler: optuna.samplers.BaseSampler) -> str | None:
        """Return the word for the parent from which a sampler makes a trial; None where it inherits nothing."""
        _ = trial.relative_params  # the sampler decides when they are first read
        parent = self._design.parent(sampler)
        return None if parent is None else self._heir(parent)

    def _suggest(self, trial: optuna.trial.Trial) -> Assignment:
        try:
            return self._space.suggest(trial)
        except ValueError as error:
            if "dynamic value space" in str(error) or "Cannot set different" in str(error):  # Optuna's own words
                raise InputError(f"holds other choices than the study ({error}) {ANEW}", str(self._file)) from error
            raise

    def _end_row(self) -> None:
        """End the row of repeats, before the next candidate, where the last one was new."""
        if self._last_is_new:
            self._repeats_in_a_row = 0

    def _is_new(self, entry: Entry) -> bool:
        """Return whether a candidate was not asked for before; what a finite design lists always is new."""
        candidate = key(entry.assignment)
        self._last_is_new = not self.searches or candidate not in self._seen
        self._seen.add(candidate)
        return self._last_is_new

    def _unseen_candidates(self) -> list[Assignment] | None:
        """Return the candidates of a small space that were not asked for yet; None where it is not small."""
        if self._unseen is None:
            try:
                self._unseen = list(itertools.islice(self._space.everything(), MOST_LISTED + 1))
            except OverflowError:
                return None
        if len(self._unseen) > MOST_LISTED:
            return None
        self._unseen = [assignment for assignment in self._unseen if key(assignment) not in self._seen]
        return self._unseen

    def repeat(self, entry: Entry) -> None:
        """Close a candidate that was asked for before: another one is asked for in its place."""
        if not entry.closed:
            with refusals(self._file):
                self._store.trial(entry.number).set_user_attr("repeat", True)
            self.tell(entry, None)
        self._count -= 1
        self._repeats += 1
        self._repeats_in_a_row += 1
        self._last_is_new = False

    def tell(self, entry: Entry, values: Sequence[float] | None, excess: Mapping[str, float] | None = None) -> None:
        """Tell Optuna the scores of a candidate: one number an objective, or None where it failed.

        excess: by constraint, how far the candidate lies beyond it; 0 or less where it is satisfied.
        """
        if entry.closed:
            return
        with refusals(self._file):
            if values is not None and excess:
                self._constrain(entry.number, excess)
            if values is None:
                self._study.tell(entry.number, state=TrialState.FAIL)
            else:
                self._study.tell(entry.number, list(values))

    def promote(self, entry: Entry, until: float | None) -> None:
        """Note that a paused candidate goes on to a share of the budget; None: to its end."""
        with refusals(self._file):
            self._study.set_user_attr(_promotion(entry.assignment), 1.0 if until is None else until)

    def refuse(self, entry: Entry, why: str) -> None:
        """Close a candidate that cannot or shall not be trained: another one is asked for in its place."""
        if not entry.closed:
            with refusals(self._file):
                self._store.trial(entry.number).set_user_attr("refused", why)
            self.tell(entry, None)
        self._count -= 1
        self._refused += 1

    def _constrain(self, number: int, excess: Mapping[str, float]) -> None:
        """Set a trial's constraints: Optuna's samplers prefer what satisfies all, then what is least beyond them."""
        trial = self._store.trial(number)
        if hasattr(trial, "set_constraint"):  # in Optuna 4 no sampler would read them here
            for name, beyond in excess.items():
                if name not in trial.constraints:  # set by a run that was cut short before it told the scores
                    trial.set_constraint(name, beyond)

    def worst(self) -> list[float]:
        """Return the scores of a diverged candidate: ranked last in every objective that is measured."""
        return [-WORST if objective.larger_is_better else WORST for objective in self._objectives]

    def remaining(self) -> int:
        """Return how many candidates the design will still ask for; none where hardly any goes together."""
        if self._refused > MOST_REFUSED * self._total or self._repeats_in_a_row >= MOST_REPEATS:
            return 0
        if self._repeats_in_a_row >= STUBBORN and not self._waiting and self._unseen_candidates() == []:
            return 0
        return max(self._total - self._count, 0)

    def short(self) -> str | None:
        """Return why a search ended with fewer candidates than it was to find; None where it has all, or goes on."""
        if not self.searches or self.remaining():
            return None
        total = self._design.candidates(self._space.dimensions)
        if self._count >= total:
            return None
        message = f"the search found {self._count} different candidates, not {total}"
        if self._refused > MOST_REFUSED * self._total:
            return f"{message}: {self._refused} others do not go together or cost too much"
        if self._count == self._total or self._unseen_candidates() == []:
            refused = f", beside {self._refused} that are refused" if self._refused else ""
            return f"{message}: there are no more in what `vary` spans{refused}"
        return f"{message}: the last {self._repeats_in_a_row} answers of its sampler were repeats"

    def unasked(self) -> list[Assignment]:
        """Return the candidates that a finite design will still ask for; a search names none before it asks."""
        return [self._proposals[index] for index in self._open]

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def _take_from_open(self, trial: FrozenTrial) -> None:
        """Count a trial of an earlier run, and strike its candidate off the open proposals."""
        self._count += 1
        index = self._indices.get(key(trial.params), trial.user_attrs.get("proposal"))
        if index in self._open:
            self._open.remove(index)

    def _valid_trials(self, trials: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        """Return the trials that the study can have asked for; others are noted, and taken out of the file."""
        seen: set[str] = set()
        valid = []
        for trial in trials:
            if (problem := problem_of(trial, self._space, None if self.searches else self._indices, seen)) is None:
                valid.append(trial)
            else:
                self.notes.append(f"{self._file}: its trial {trial.number} {problem}; it is left out")
            if is_complete(trial, self._space):
                seen.add(key(trial.params))
        if len(valid) < len(trials):
            self._store.replace(valid)
            return self._study.get_trials(deepcopy=False)
        return trials

    def enrol(self, assignment: Assignment) -> Entry:
        """Add a candidate that has records and no entry here, as where the file was lost."""
        choices, start = apart_from_parent(assignment)
        with refusals(self._file):
            self._study.enqueue_trial(choices, user_attrs=None if start is None else {START: start})
            trial = self._study.ask()
            suggested = self._space.suggest(trial)
        self._count += 1
        entry = Entry(trial.number, suggested, False, start=start)
        self._is_new(entry)
        self._end_row()
        return entry

    def correct(self, scores: Mapping[int, Sequence[float]]) -> list[int]:
        """Set the candidates' scores, {number: scores by the records}, and return the numbers that had others.

        Optuna's own trials, once told, cannot be changed: where one is wrong, the file is written anew.
        """
        with refusals(self._file):
            trials = self._study.get_trials(deepcopy=False)
            wrong = [t.number for t in trials if t.number in scores and not has_values(t, scores[t.number])]
            if not wrong:
                return []
            self._store.replace([with_values(trial, scores.get(trial.number)) for trial in trials])
        return wrong


def _promotion(assignment: Assignment) -> str:
    """Return the study's attribute that says to which share of the budget a candidate goes on.

    Optuna lets no attribute of a trial be set once its scores are told.
    """
    return f"until {digest(key(assignment))[:16]}"


def _score_name(objective: Objective, share: float | None) -> str:
    """Return what a score is called in the file, for who reads it with Optuna."""
    known = share is None or objective.column in KNOWN_BEFOREHAND
    return objective.name if known else f"{objective.name} at {share:g} of the budget"
