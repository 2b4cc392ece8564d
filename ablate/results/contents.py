"""The contents of a study's folder: its lock file, its study file and its tables, each read on first use."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ablate.candidates.names import Names
from ablate.io import launches
from ablate.io.sealed import unsealed
from ablate.io.text import label
from ablate.results import probes, store
from ablate.results.candidates import CandidateRow, candidates
from ablate.results.categories import with_categories
from ablate.results.frames import collapsed, noisy
from ablate.results.quality_curves import with_quality
from ablate.results.readable import read_mapping, read_yaml

if TYPE_CHECKING:
    import pandas as pd

STATES = ("complete", "diverged", "failed", "paused", "running", "unreadable")  # of trials, in this order


class StudyContents:
    """Read a study's folder: lock file, study file, launches and tables. The first of the two bases of `Results`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._warnings: list[str] = []

    @cached_property
    def _stored(self) -> store.Stored:
        return store.read(self.path)

    @cached_property
    def lock(self) -> dict[str, Any]:
        """What the first launch froze; {} where the folder has no lock file."""
        return unsealed(read_mapping(self.path / "lock.json", self._warnings))

    @cached_property
    def study(self) -> dict[str, Any]:
        """study.yaml as plain data, with all that was said beside it; {} where the folder has none."""
        return read_yaml(self.path / "study.yaml", self._warnings)

    @cached_property
    def launches(self) -> list[dict[str, Any]]:
        """Each `ablate run` and `ablate evaluate` in this folder, the oldest first: command, options, date, host."""
        return launches.read(self.path)

    @property
    def name(self) -> str:
        """The study's name, for people: printable, and not longer than a label."""
        return label(self.lock.get("study") or self.study.get("study") or self.path.resolve().name)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The table of trials, a row each: trial, config_hash, seed, state, costs, `c.<path>` choices, `m.<metric>`."""
        frame = self._stored.trials.copy()
        labels = {c.config_hash: c.label for c in self.candidates}
        frame["candidate"] = frame["config_hash"].map(labels)
        return with_categories(frame, self._orders)

    @property
    def _orders(self) -> dict[str, list[Any]]:
        """The order of words by column: candidates and choices as the study lists them, metrics as it measures them."""
        listed = self.lock.get("choices")
        choices = {f"c.{path}": labels for path, labels in listed.items()} if isinstance(listed, Mapping) else {}
        measured = self.lock.get("metrics")
        return {
            **{path: labels for path, labels in choices.items() if isinstance(labels, list)},
            "candidate": [c.label for c in self.candidates],
            "state": list(STATES),
            "metric": list(measured.values()) if isinstance(measured, Mapping) else [],
        }

    def among(self, metrics: pd.DataFrame) -> Self:
        """Return results of the same trials with these measurements alone, which are rows of `metrics`."""
        results = type(self)(self.path)
        results.__dict__["_stored"] = replace(self._stored, metrics=metrics)
        return results

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The long table of measurements, a row each: all that decides a value; candidate, seed, `c.<path>` choices."""
        return self._with_choices(self._stored.metrics)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The long table of training curves: a row a logged point, with candidate, seed and `c.<path>` choices.

        `train_gflops` is what training took until then. Where quality was measured during training (`evaluate.at`), it
        stands in columns `m.<metric>`, all on one number of samples; such points are rows of their own, without a
        loss. These alone are there where only the tables were committed.
        """
        return self._curves(None)

    def curves_of(self, trials: Collection[str]) -> pd.DataFrame:
        """Return the rows of `curves` of these trials; of many in the folder their files alone are read."""
        if "curves" in self.__dict__:
            return self.curves[self.curves["trial"].isin(list(trials))]
        return self._curves(frozenset(trials))

    def _curves(self, of: Collection[str] | None) -> pd.DataFrame:
        losses = store.curves_of(self._stored, self._warnings, of)
        points = with_quality(losses, self._stored.trials, self._stored.metrics)
        return self._with_choices(points if of is None else points[points["trial"].isin(list(of))])

    @cached_property
    def probes(self) -> pd.DataFrame:
        """The long table of probes: a row an observation at one site, with trial, probe, images, site, x, value.

        Then candidate, seed and `c.<path>` choices. `attrs["axes"]` says by probe what x is: a depth, a log SNR.
        """
        return self._with_choices(probes.read(self.path, self._warnings, probes.observed(self._stored.trials)))

    def _with_choices(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add to rows of trials what each trial is: its candidate, its seed and its choices."""
        trials = self.trials.set_index("trial")
        columns = ["candidate", "seed", *(c for c in trials.columns if str(c).startswith("c."))]
        beside = trials[columns].reindex(frame["trial"]).set_index(frame.index)
        extended = frame.assign(**{str(name): beside[name] for name in columns})
        extended.attrs = dict(frame.attrs)
        return with_categories(extended, self._orders)

    @cached_property
    def candidates(self) -> tuple[CandidateRow, ...]:
        """Every configuration, the baseline first, then in the study's order."""
        order = self.lock.get("choices") or self.study.get("vary")
        listed = order if isinstance(order, Mapping) else None
        return candidates(self._stored.trials, self._baseline_labels, listed, Names.read(self.lock))

    @property
    def names(self) -> Names:
        """What candidates are called, by their choices."""
        return Names.read(self.lock) or Names.among([c.choices for c in self.candidates], self._baseline_labels)

    @property
    def warnings(self) -> list[str]:
        """Whether trials were replayed, files that could not be read, candidates whose samples are noise, or alike."""
        _ = self.lock, self.study
        return [*self._replayed(), *self._warnings, *self._stored.warnings, *self._unsound_samples()]

    def _replayed(self) -> list[str]:
        """Return a line for each recorded table from which trials were replayed."""
        trials = self._stored.trials
        if "replayed" not in trials:
            return []
        return [
            f"{count} of {len(trials)} trials were replayed from {table}: nothing was trained here, their values were "
            "recorded earlier, and their seconds are simulated"
            for table, count in trials["replayed"].value_counts().items()
        ]

    def _unsound_samples(self) -> list[str]:
        alike = [
            f"samples of {name} are nearly all alike ({share:.2f}; 0: all the same, 1: as different as the data): they "
            "collapsed, and their metrics say little; lower the learning rate, or train longer"
            for name, share in collapsed(self.trials).items()
        ]
        return alike + [
            f"samples of {name} are hardly better than noise ({share:.2f}; 0: as smooth as the data, 1: noise): "
            "train longer, or raise the learning rate"
            for name, share in noisy(self.trials).items()
        ]

    @property
    def states(self) -> dict[str, int]:
        """How many trials are complete, diverged, failed, running."""
        return {str(k): int(v) for k, v in self._stored.trials["state"].value_counts().items()}

    @property
    def _baseline_labels(self) -> dict[str, Any] | None:
        labels = self.lock.get("baseline")
        return dict(labels) if isinstance(labels, Mapping) and labels else None

    @property
    def baseline_labels(self) -> dict[str, Any]:
        """The baseline's choices, {path: label}; {} where the lock names none."""
        return self._baseline_labels or {}

    @property
    def baseline(self) -> CandidateRow | None:
        """The candidate that the lock names as the baseline, if it has a trial."""
        return next((c for c in self.candidates if c.baseline), None)
