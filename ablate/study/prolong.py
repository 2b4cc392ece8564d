"""A larger budget: which trials go on from the checkpoints of a smaller one, and why others begin with nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablate.candidates.candidate import Candidate
from ablate.candidates.objectives import TRAIN_PASS
from ablate.candidates.trial import Budget, TrialSettings, trial_id
from ablate.engine.contained import contained
from ablate.engine.plan import Place
from ablate.engine.unlisted import trained_in
from ablate.errors import InputError, SpecError
from ablate.kinds.design import Assignment
from ablate.study import aside, grow, lock
from ablate.study.borrow import folder_of
from ablate.study.loaded import LoadedStudy
from ablate.training.checkpoint import CHECKPOINTS
from ablate.training.prolonged import ShorterTraining
from ablate.worker import records
from ablate.worker.messages import TrialJob, trial_job
from ablate.worker.prolong import LongerTraining

NAMED = 3  # candidates that a line names
LINES = 5  # reasons that are told; of more, how many trials there are


@dataclass(frozen=True)
class Found:
    """What there is for one trial: the checkpoint with which it begins, or why it begins with nothing."""

    study: str  # the folder in which the shorter training is
    begin: ShorterTraining | str


class Prolong:
    """Finds the checkpoints of shorter trainings with which trials of a study begin.

    own: the study's folder. Looked into are its trials of smaller budgets and the folders in `reuse`, with theirs.
    """

    def __init__(self, loaded: LoadedStudy, own: Path, device: str) -> None:
        self._loaded = loaded
        self._own = own.absolute()
        self._device = device
        self._versions = lock.versions()
        self.own = tuple(self._places([self._own]))
        self._all = (*self.own, *self._places([folder_of(loaded, name) for name in loaded.study.reuse]))

    def __call__(self, job: TrialJob, candidate: Candidate) -> dict[str, Any]:
        """Return the keys of a job that say with which checkpoint it begins; {} where with none, or with its own."""
        found = self.find(job, candidate)
        return found.begin.job() if found is not None and isinstance(found.begin, ShorterTraining) else {}

    def find(self, job: TrialJob, candidate: Candidate) -> Found | None:
        """Return the longest of the shorter trainings, or why none can be gone on with; None where there is none."""
        if not self._all or self._has_begun(Path(job["folder"])):
            return None
        longer = self._longer(job, candidate)
        found = [Found(name, longer.begin(trial, name)) for name, trial in self._trials(job, candidate)]
        begun = [one for one in found if isinstance(one.begin, ShorterTraining)]
        longest = max(begun, key=lambda one: getattr(one.begin, "images", 0), default=None)
        return longest or next(iter(found), None)

    def describe(self) -> tuple[list[str], float]:
        """Return lines on which trials go on from where and why others do not, and the share of training that is left.

        Of the candidates that are known beforehand; of a search those that this study has trained with smaller budgets.
        """
        begun: dict[str, list[int]] = defaultdict(list)
        refused: dict[tuple[str, str], list[str]] = defaultdict(list)
        images, saved, count = 0, 0, 0
        for assignment, job, candidate in self._known() if self._all else ():
            found = self.find(job, candidate)
            total = self._images(job, candidate)
            images, count = images + total, count + 1
            if found is None:
                continue
            if isinstance(found.begin, str):
                refused[found.study, found.begin].append(self._loaded.names(assignment))
            else:
                begun[found.study].append(found.begin.images)
                saved += found.begin.images
        lines = [_begun(study, sorted(set(after)), len(after), count) for study, after in begun.items()]
        reasons = list(refused.items())
        lines += [_refused(study, why, names) for (study, why), names in reasons[:LINES]]
        if more := sum(len(names) for _, names in reasons[LINES:]):
            lines.append(f"{more} others are trained from nothing for other reasons")
        return lines, 1 - saved / images if images else 1.0

    def _places(self, folders: Sequence[Path]) -> Iterator[Place]:
        """Yield those of the folders, and of what was set aside in them, that hold trials of a smaller budget."""
        study = self._loaded.study.active()
        for folder in dict.fromkeys(place for own in folders for place in (own, *aside.folders(own))):
            locked = lock.read(folder)
            if locked is None or not grow.is_larger(then := locked["science"].get("budget"), study["budget"]):
                continue
            if all(locked["science"].get(key) == study.get(key) for key in ("data", "evaluate")):
                settings: TrialSettings = replace(self._loaded.trial_settings, budget=Budget(**then))
                yield Place(folder, settings)

    def _trials(self, job: TrialJob, candidate: Candidate) -> Iterator[tuple[str, Path]]:
        """Yield the folders of a trial's shorter trainings, each with the name of its study's folder."""
        for place in self._all:
            trial = place.folder / "trials" / trial_id(place.trial_settings.digest(candidate), job["seed"])
            if trial.is_dir():
                inside = place.folder.is_relative_to(self._own) and place.folder != self._own
                yield str(place.folder.relative_to(self._own) if inside else place.folder), trial

    def _longer(self, job: TrialJob, candidate: Candidate) -> LongerTraining:
        settings = self._loaded.trial_settings
        images = self._images(job, candidate)
        return LongerTraining(job, candidate, settings.evaluation, settings.probes, images, self._versions)

    def _images(self, job: TrialJob, candidate: Candidate) -> int:
        keys: Mapping[str, Any] = job
        gflops = keys.get(TRAIN_PASS) or keys["gflops"] or 0.0
        return self._loaded.trial_settings.budget.images_for(candidate.batch, gflops) or 0

    @staticmethod
    def _has_begun(trial: Path) -> bool:
        """Return whether a trial has a record, or a checkpoint of its own."""
        return records.is_recorded(trial) or any((trial / CHECKPOINTS).glob("[0-9]*.json"))

    def _known(self) -> Iterator[tuple[Assignment, TrialJob, Candidate]]:
        """Yield the trials that are known beforehand, each with its job as a worker would get it."""
        loaded, design = self._loaded, self._loaded.study.design
        seen: set[str] = set()
        for assignment in self._assignments():
            try:
                candidate = loaded.candidate(assignment)
                with contained():
                    cost = loaded.trial_settings.cost(candidate)
            except (SpecError, InputError):
                continue  # its trial says what is wrong
            except Exception:  # noqa: BLE001 - a plugin's own code
                continue
            own = {"device": self._device, **loaded.sources(candidate)}
            for job in loaded.trial_settings.jobs(
                candidate, design.seeds, assignment, (), self._own / "trials", cost, design.first_seed
            ):
                if job["trial"] not in seen:
                    seen.add(job["trial"])
                    yield assignment, trial_job({**job, **own}), candidate

    def _assignments(self) -> Iterator[Assignment]:
        proposals = self._loaded.proposals()
        if proposals is not None:
            yield from proposals
            return
        for place in self.own:
            yield from trained_in(place, self._loaded.space, self._loaded.candidate)


def _begun(study: str, after: Sequence[int], count: int, of: int) -> str:
    images = f"{after[0]:,}" if len(after) == 1 else f"{after[0]:,} to {after[-1]:,}"
    return f"{count} of {of} trials go on from their checkpoints in {study}, after {images} images"


def _refused(study: str, why: str, names: Sequence[str]) -> str:
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - NAMED} more" if len(different) > NAMED else ""
    trials = "1 trial is" if len(names) == 1 else f"{len(names)} trials are"
    who = f"{', '.join(different[:NAMED])}{more}"
    return f"{trials} trained from nothing, though {study} has a shorter one: {who}: {why}"
