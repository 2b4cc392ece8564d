"""Optuna's genetic samplers, so that a search that was cut short asks what it would have asked.

Optuna computes the parents of a generation when the first child is asked for, and keeps their numbers. Asked again, it
gives the same parents in another order, and with the same random numbers other children. Here they always come in the
order of their numbers. The names are Optuna's: it files a candidate's generation under them.
"""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial


class NSGAIISampler(optuna.samplers.NSGAIISampler):
    """NSGA-II (Deb et al. 2002) whose parents come in one order."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation by their numbers."""
        return _by_number(super().get_parent_population(study, generation))


class NSGAIIISampler(optuna.samplers.NSGAIIISampler):
    """NSGA-III (Deb & Jain 2014) whose parents come in one order."""

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation by their numbers."""
        return _by_number(super().get_parent_population(study, generation))


def _by_number(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return sorted(trials, key=lambda trial: trial.number)
