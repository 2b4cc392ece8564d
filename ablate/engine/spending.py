"""The spending of a study against its total budget: trials, training compute and hours of work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.candidates.total import Total


class Spending:
    """Counts what trials have taken and what those that have begun will take. total: None where there is no bound."""

    def __init__(self, total: Total | None) -> None:
        self._total = total
        self._gflops: dict[str, float] = {}  # of training, by trial: of as much as it is to be trained
        self._seconds: dict[str, float] = {}  # of work, by trial
        self._all_gflops = self._all_seconds = 0.0

    @property
    def counts_training(self) -> bool:
        """Whether the training compute is bounded, so that it has to be counted."""
        return self._total is not None and self._total.train_gflops is not None

    def commit(self, trial: str, train_gflops: float) -> None:
        """Note a trial that begins or goes on, with all the training that it comes to."""
        self._all_gflops += train_gflops - self._gflops.get(trial, 0.0)
        self._gflops[trial] = train_gflops

    def take(self, trial: str, record: Mapping[str, Any], gflops_an_image: float) -> None:
        """Note what a trial has taken, by its record."""
        seconds = float(record["seconds"])
        self._all_seconds += seconds - self._seconds.get(trial, 0.0)
        self._seconds[trial] = seconds
        self.commit(trial, gflops_an_image * float(record["images"]))

    def used_up(self, seeds: int) -> str | None:
        """Return which bound leaves no room for another candidate of so many trials; None where there is room."""
        total = self._total
        if total is None:
            return None
        trials = len(self._gflops)
        if total.trials is not None and trials + seeds > total.trials:
            return f"{trials} of {total.trials} trials"
        return self.exhausted()

    def exhausted(self) -> str | None:
        """Return which bound is reached, so that no paused trial goes on either; None where there is room."""
        total = self._total
        if total is None:
            return None
        gflops, hours = self._all_gflops, self._all_seconds / 3600
        if total.train_gflops is not None and gflops >= total.train_gflops:
            return f"{gflops:.4g} of {total.train_gflops:.4g} Gflops of training"
        if total.hours is not None and hours >= total.hours:
            return f"{hours:.3g} of {total.hours:.3g} hours of work"
        return None
