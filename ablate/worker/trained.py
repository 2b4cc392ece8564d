"""The trained network of a trial, for use elsewhere, and samples of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.evaluation import Evaluation
from ablate.discovery.catalog import catalog_of
from ablate.discovery.plugin_files import plugins_today
from ablate.discovery.provenance import FRAMEWORK
from ablate.errors import InputError, did_you_mean
from ablate.evaluation.sampling import NotFiniteError, make_sampler
from ablate.io.sealed import DamagedError
from ablate.kinds.data import Data, Dataset, image_setting
from ablate.runtime.machine import cache_folder, choose_device
from ablate.spec.slots import fill
from ablate.training.learner import Learner
from ablate.training.snapshots import Snapshots
from ablate.worker import datasets, records, sources
from ablate.worker.exclusive import alone_in_process
from ablate.worker.loading import data_of
from ablate.worker.out_of_memory import with_sampling_batch
from ablate.worker.remeasure import averages_of, restored


@dataclass(frozen=True)
class _Trained:
    """One trial with its weights in memory."""

    job: Mapping[str, Any]
    candidate: Candidate
    evaluation: Evaluation
    data: Data
    dataset: Dataset
    learner: Learner
    weights: Mapping[str, Tensor]  # the average that was asked for; parameters alone
    snapshots: Snapshots


def network(
    folder: Path,
    trial: str,
    average: str | float | None = None,
    device: str = "cpu",
    plugins: Sequence[str] = (),
) -> nn.Module:
    """Return a trial's network with the weights of an average; see `Results.network`."""
    with _trained(folder, trial, average, device, plugins) as trained:
        module = trained.learner.network.eval()
        module.load_state_dict(dict(trained.weights), strict=False)  # an average has parameters, not buffers
        return module


def sample(
    folder: Path,
    trial: str,
    n: int | None = None,
    average: str | float | None = None,
    device: str = "auto",
    plugins: Sequence[str] = (),
) -> Tensor:
    """Draw n samples of a trial's network; see `Results.sample`."""
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 1):
        raise InputError(f"expected a number of images, at least 1, not {n!r}", "n")
    with _trained(folder, trial, average, device, plugins) as trained:
        evaluation, learner, setting = trained.evaluation, trained.learner, image_setting(trained.data)
        sampler = make_sampler(
            trained.candidate,
            learner.process,
            setting,
            trained.dataset,
            evaluation,
            trained.job["seed"],
            learner.device,
            learner.companion_network,
            trained.snapshots,
            learner.images_seen,
            learner.averaged_sibling,
        )
        measured = evaluation.drawn
        count = measured if n is None else n
        batches: list[Tensor] = []
        # The batches are those of the measurement, and so are the labels, however many samples are returned.
        for pixels, _ in sampler.batches(learner.network, trained.weights, max(count, measured), evaluation.batch):
            batches.append(pixels.cpu())
            if sum(map(len, batches)) >= count:
                break
        if not batches:
            raise InputError("the study measured no samples of it; say how many: n=16")
        return torch.cat(batches)[:count].clone()


@contextmanager
def _trained(
    folder: Path,
    trial: str,
    average: str | float | None,
    device: str,
    plugins: Sequence[str],
) -> Iterator[_Trained]:
    """Restore a trial as it was trained. Raises InputError where something of it is missing or is another today."""
    job, record = _job_and_record(folder, trial)
    plugins_now = plugins_today(folder, job["plugins"], plugins)
    job = {**job, "plugins": plugins_now, "device": choose_device(device), "cache": str(cache_folder())}
    trial_folder = folder.absolute() / "trials" / trial
    try:
        with alone_in_process(job, lambda: False):
            catalog = catalog_of(job)
            candidate, data = compose(job["candidate"], catalog), data_of(job, catalog)
            evaluation = with_sampling_batch(job, fill(Evaluation, job["evaluation"], catalog))
            components = [candidate, data, *([evaluation.autoencoder] if evaluation.autoencoder else [])]
            used = {*catalog.used(part for component in components for _, part in component.parts()), FRAMEWORK}
            hashes = {name: value for name, value in (record.get("sources") or {}).items() if name in used}
            trained_job = {**job, "hashes": record.get("hashes", job.get("hashes")), "sources": hashes}
            sources.check({key: value for key, value in trained_job.items() if value is not None}, catalog)
            learner, dataset, snapshots = restored(job, trial_folder, candidate, data)
            weights = next(iter(averages_of(learner, snapshots, None if average is None else [average]).values()))
            yield _Trained(job, candidate, evaluation, data, dataset, learner, weights, snapshots)
    except sources.OtherSourceError as error:
        lines = [
            f"{change['component']} "
            f"({sources.short(change['wanted'])} -> {sources.short(change['found'])}, {change['file']})"
            for change in error.changes
        ]
        problem = "was trained with other source code than there is today (then -> now): " + "; ".join(lines)
        raise InputError(f"{problem}; restore that source", f"trial {trial}") from None
    except datasets.OtherDataError as error:
        raise InputError(f"was trained on other data: {error}; bring those data back", f"trial {trial}") from None
    except NotFiniteError as error:
        raise InputError(str(error), f"trial {trial}") from None


def _job_and_record(folder: Path, trial: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the job of a trial, with the hash of the data that it was trained on, and its record."""
    trials = [path.name for path in records.recorded(folder)]
    if not isinstance(trial, str) or trial not in trials:
        near = did_you_mean(str(trial), trials) if len(trials) <= 8 or isinstance(trial, str) else ""
        none = "; its folder keeps no trials, only tables" if not trials else ""
        raise InputError(f"no finished trial is called {trial!r}{near}{none}: see the column 'trial' of results.trials")
    trial_folder = folder / "trials" / trial
    try:
        record: Mapping[str, Any] = records.read(trial_folder) or {}
        job = records.job_of(trial_folder, record)
    except FileNotFoundError:
        raise InputError("its job is gone, so it is not known how it was trained", str(trial_folder)) from None
    except DamagedError as error:
        raise InputError(str(error)) from None
    if record.get("state") != records.COMPLETE:
        raise InputError("it diverged, so it has no trained network", f"trial {trial}")
    return job, record
