"""What a trial has trained, for use elsewhere: its network, and images that it draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.trial import Evaluation
from ablate.discovery.catalog import catalog_of
from ablate.discovery.plugin_files import plugins_today
from ablate.discovery.provenance import FRAMEWORK
from ablate.errors import InputError, did_you_mean
from ablate.evaluation.measure import NotFiniteError, make_sampler
from ablate.io.sealed import DamagedError
from ablate.kinds.data import Data, Dataset
from ablate.runtime.machine import cache_folder, choose_device
from ablate.spec.slots import fill
from ablate.training.learner import Learner
from ablate.worker import datasets, records, sources
from ablate.worker.out_of_memory import with_sampling_batch
from ablate.worker.remeasure import averages_of, restored
from ablate.worker.trial_run import alone_in_process, data_of


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


def network(
    folder: Path,
    trial: str,
    average: str | float | None = None,
    device: str = "cpu",
    plugins: Sequence[str] = (),
) -> nn.Module:
    """What `Results.network` gives."""
    with _trained(folder, trial, average, device, plugins) as one:
        made = one.learner.network.eval()
        made.load_state_dict(dict(one.weights), strict=False)  # an average holds parameters, not buffers
        return made


def sample(
    folder: Path,
    trial: str,
    n: int | None = None,
    average: str | float | None = None,
    device: str = "auto",
    plugins: Sequence[str] = (),
) -> Tensor:
    """What `Results.sample` gives."""
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 1):
        raise InputError(f"expected a number of images, at least 1, not {n!r}", "n")
    with _trained(folder, trial, average, device, plugins) as one:
        evaluation, learner, setting = one.evaluation, one.learner, one.data.setting()
        sampler = make_sampler(
            one.candidate,
            learner.process,
            setting,
            one.dataset,
            evaluation,
            one.job["seed"],
            learner.device,
            learner.companion_network,
        )
        measured = evaluation.drawn
        wanted = measured if n is None else n
        drawn: list[Tensor] = []
        # The batches are those of the measurement, and so are the labels, whatever of them is asked for.
        for pixels, _ in sampler.batches(learner.network, one.weights, max(wanted, measured), evaluation.batch):
            drawn.append(pixels.cpu())
            if sum(map(len, drawn)) >= wanted:
                break
        if not drawn:
            raise InputError("the study measured no samples of it; say how many: n=16")
        return torch.cat(drawn)[:wanted].clone()


@contextmanager
def _trained(
    folder: Path,
    trial: str,
    average: str | float | None,
    device: str,
    plugins: Sequence[str],
) -> Iterator[_Trained]:
    """A trial as it was trained. Raises InputError where something of it is missing or is another today."""
    job, record = _job(folder, trial)
    found = plugins_today(folder, job["plugins"], plugins)
    job = {**job, "plugins": found, "device": choose_device(device), "cache": str(cache_folder())}
    where = folder.absolute() / "trials" / trial
    try:
        with alone_in_process(job, lambda: False):
            known = catalog_of(job)
            candidate, data = compose(job["candidate"], known), data_of(job, known)
            evaluation = with_sampling_batch(job, fill(Evaluation, job["evaluation"], known))
            wholes = [candidate, data, *([evaluation.autoencoder] if evaluation.autoencoder else [])]
            used = {*known.used(part for whole in wholes for _, part in whole.parts()), FRAMEWORK}
            then = {name: held for name, held in (record.get("sources") or {}).items() if name in used}
            asked = {**job, "hashes": record.get("hashes", job.get("hashes")), "sources": then}
            sources.check({key: held for key, held in asked.items() if held is not None}, known)
            learner, dataset, snapshots = restored(job, where, candidate, data)
            weights = next(iter(averages_of(learner, snapshots, None if average is None else [average]).values()))
            yield _Trained(job, candidate, evaluation, data, dataset, learner, weights)
    except sources.OtherSourceError as error:
        lines = [
            f"{one['component']} ({sources.short(one['wanted'])} -> {sources.short(one['found'])}, {one['file']})"
            for one in error.changes
        ]
        told = "was trained with other source code than there is today (then -> now): " + "; ".join(lines)
        raise InputError(f"{told}; restore that source", f"trial {trial}") from None
    except datasets.OtherDataError as error:
        raise InputError(f"was trained on other data: {error}; bring those data back", f"trial {trial}") from None
    except NotFiniteError as error:
        raise InputError(str(error), f"trial {trial}") from None


def _job(folder: Path, trial: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """What the driver once asked for, with the data that the trial was trained on, and its record."""
    there = [path.parent.name for path in folder.glob("trials/*/record.json")]
    if not isinstance(trial, str) or trial not in there:
        near = did_you_mean(str(trial), there) if len(there) <= 8 or isinstance(trial, str) else ""
        none = "; its folder keeps no trials, only tables" if not there else ""
        raise InputError(f"no finished trial is called {trial!r}{near}{none}: see the column 'trial' of results.trials")
    at = folder / "trials" / trial
    try:
        record: Mapping[str, Any] = records.read(at) or {}
        job = records.job_of(at, record)
    except FileNotFoundError:
        raise InputError("its job.json is gone, so it is not known how it was trained", str(at)) from None
    except DamagedError as error:
        raise InputError(str(error)) from None
    if record.get("state") != records.COMPLETE:
        raise InputError("it diverged, so it has no trained network", f"trial {trial}")
    return job, record
