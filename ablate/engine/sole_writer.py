"""An Optuna storage of which this process is the only writer: what it has written it knows, and does not read again.

Optuna's own cache of a database keeps the trials that have ended, and reads the others anew at each question, since
another process might have changed them. With a thousand workers that is a thousand trials for each candidate; and with
one, each question takes longer than what is written.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Container, Iterator, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

ONE_BY_ONE = 4  # trials that are read each by itself; more of them are read together


class SoleWriter(BaseStorage):
    """Optuna's storage of one study, whose trials are kept in memory; every change is written to `behind` at once."""

    def __init__(self, behind: BaseStorage, study_id: int) -> None:
        self._behind = behind
        self._trials = {
            trial._trial_id: trial for trial in behind.get_all_trials(study_id)
        }  # in order of their numbers
        self._open = {trial_id: trial for trial_id, trial in self._trials.items() if not trial.state.is_finished()}
        self._stale: set[int] = set()  # ids of trials that the database may have otherwise, which are read again
        self._ended: set[int] = set()  # ids of trials of whose end the database has noted the time, by its own clock

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; who changes it changes the memory, so nobody does."""
        if trial_id in self._stale or trial_id not in self._trials:
            self._keep(self._behind.get_trial(trial_id))
        return self._trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in order of their numbers, of some states or all."""
        for trial_id in list(self._stale):
            self.get_trial(trial_id)
        ended = states is None or any(state in states for state in TrialState if state.is_finished())
        if ended:
            self._read_ended(study_id)
        among = (self._trials if ended else self._open).values()
        trials = [trial for trial in among if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of the trial of this number."""
        return self._behind.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial, and return its id."""
        if template_trial is not None:
            trial_id = self._behind.create_new_trial(study_id, template_trial)
            self.get_trial(trial_id)
            return trial_id
        trial = create_trial(state=TrialState.RUNNING)  # which Optuna would make itself, and would have to be asked for
        trial.number = len(self._trials)
        trial._trial_id = self._behind.create_new_trial(study_id, trial)
        self._keep(trial)
        return trial._trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter of a trial."""
        with self._changed(trial_id) as trial:
            self._behind.set_trial_param(trial_id, param_name, param_value_internal, distribution)
            trial.params = {**trial.params, param_name: distribution.to_external_repr(param_value_internal)}
            trial.distributions = {**trial.distributions, param_name: distribution}

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set the state of a trial, and its values; False where another one has begun it."""
        if not state.is_finished():
            self._stale.add(trial_id)
            return self._behind.set_trial_state_values(trial_id, state, values)
        with self._changed(trial_id) as trial:
            done = self._behind.set_trial_state_values(trial_id, state, values)
            trial.state, trial.datetime_complete = state, datetime.now()
            trial.values = trial.values if values is None else list(values)
        (self._ended if done else self._stale).add(trial_id)
        return done

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Set a value of a trial on its way."""
        self._stale.add(trial_id)
        self._behind.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        with self._changed(trial_id) as trial:
            self._behind.set_trial_user_attr(trial_id, key, value)
            trial.user_attrs = {**trial.user_attrs, key: json.loads(json.dumps(value))}  # as the database gives it back

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set one of Optuna's own attributes of a trial."""
        with self._changed(trial_id) as trial:
            self._behind.set_trial_system_attr(trial_id, key, value)
            trial.system_attrs = {**trial.system_attrs, key: json.loads(json.dumps(value))}

    @contextlib.contextmanager
    def _changed(self, trial_id: int) -> Iterator[FrozenTrial]:
        """Give a copy of a trial, to be changed as the database is, and keep it; where that fails, it is read again."""
        trial = copy.copy(self.get_trial(trial_id))
        self._stale.add(trial_id)
        yield trial
        self._keep(trial)

    def _keep(self, trial: FrozenTrial) -> None:
        """Keep a trial as it is in the database."""
        self._stale.discard(trial._trial_id)
        self._trials[trial._trial_id] = trial
        if trial.state.is_finished():
            self._open.pop(trial._trial_id, None)
        else:
            self._open[trial._trial_id] = trial

    def _read_ended(self, study_id: int) -> None:
        """Read the trials that have ended since, with the times that the database has noted."""
        if len(self._ended) > ONE_BY_ONE:
            stored = self._behind.get_all_trials(study_id, deepcopy=False)
            ended = [trial for trial in stored if trial._trial_id in self._ended]
        else:
            ended = [self._behind.get_trial(trial_id) for trial_id in self._ended]
        for trial in ended:
            self._keep(trial)
        self._ended.clear()

    # What is of the study is not kept: it is asked for seldom.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Add a study."""
        return self._behind.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """Delete a study."""
        self._behind.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of the study."""
        self._behind.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set one of Optuna's own attributes of the study."""
        self._behind.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return a study's id."""
        return self._behind.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return a study's name."""
        return self._behind.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return whether each objective is minimised or maximised."""
        return self._behind.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the study's attributes."""
        return self._behind.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return Optuna's own attributes of the study."""
        return self._behind.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[Any]:
        """Return all studies."""
        return self._behind.get_all_studies()
