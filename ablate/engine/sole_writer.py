"""An Optuna storage of which this process is the only writer: a trial is read again only after it was written to.

Optuna's own cache of a database keeps the trials that have ended, and reads the others anew at each question, since
another process might have changed them. With a thousand workers that is a thousand trials for each candidate.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


class SoleWriter(BaseStorage):
    """Optuna's storage of one study, whose trials are kept in memory; every change is written to `behind` at once."""

    def __init__(self, behind: BaseStorage, study_id: int) -> None:
        self._behind = behind
        self._trials = {
            trial._trial_id: trial for trial in behind.get_all_trials(study_id)
        }  # in order of their numbers
        self._open = {trial_id: trial for trial_id, trial in self._trials.items() if not trial.state.is_finished()}
        self._stale: set[int] = set()  # ids of trials that were written to since they were read

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; who changes it changes the memory, so nobody does."""
        if trial_id in self._stale or trial_id not in self._trials:
            self._trials[trial_id] = self._open[trial_id] = self._behind.get_trial(trial_id)
            self._stale.discard(trial_id)
            if self._trials[trial_id].state.is_finished():
                del self._open[trial_id]
        return self._trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in order of their numbers, of some states or all."""
        for trial_id in list(self._stale):
            self.get_trial(trial_id)
        ended = states is None or any(state in states for state in TrialState if state.is_finished())
        among = (self._trials if ended else self._open).values()
        trials = [trial for trial in among if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of the trial of this number."""
        return self._behind.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial, and return its id."""
        trial_id = self._behind.create_new_trial(study_id, template_trial)
        self.get_trial(trial_id)
        return trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter of a trial."""
        self._stale.add(trial_id)
        self._behind.set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set the state of a trial, and its values; False where another one has begun it."""
        self._stale.add(trial_id)
        return self._behind.set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Set a value of a trial on its way."""
        self._stale.add(trial_id)
        self._behind.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        self._stale.add(trial_id)
        self._behind.set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set one of Optuna's own attributes of a trial."""
        self._stale.add(trial_id)
        self._behind.set_trial_system_attr(trial_id, key, value)

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
