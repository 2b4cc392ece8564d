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
from ablate.discovery.provenance import FRAMEWORK
from ablate.errors import InputError, did_you_mean
from ablate.evaluation.decoding import decoder
from ablate.evaluation.labels import shares
from ablate.evaluation.measure import NotFiniteError, Sampler
from ablate.io.sealed import DamagedError, read_sealed
from ablate.kinds.data import Data, Dataset
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
    kept: Mapping[str, str] | None = None,
) -> nn.Module:
    """What `Results.network` gives. kept: {a plugin's file: where the study's folder keeps it}."""
    with _trained(folder, trial, average, device, plugins, kept) as one:
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
    kept: Mapping[str, str] | None = None,
) -> Tensor:
    """What `Results.sample` gives. kept: {a plugin's file: where the study's folder keeps it}."""
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 1):
        raise InputError(f"expected a number of images, at least 1, not {n!r}", "n")
    with _trained(folder, trial, average, device, plugins, kept) as one:
        evaluation, learner, setting = one.evaluation, one.learner, one.data.setting()
        sampler = Sampler(
            one.candidate,
            learner.process,
            setting,
            one.job["seed"],
            learner.device,
            learner.companion_network,
            decoder(evaluation.autoencoder, one.dataset.encoding, learner.device),
            None if setting.classes is None else shares(one.dataset.labels, setting.classes),
            one.dataset.encoding is not None,
        )
        measured = evaluation.samples if evaluation.metrics else evaluation.previews
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
    kept: Mapping[str, str] | None,
) -> Iterator[_Trained]:
    """A trial as it was trained. Raises InputError where something of it is missing or is another today."""
    job, record = _job(folder, trial)
    found = _plugins(folder, job["plugins"], plugins, kept or {})
    job = {**job, "plugins": found, "device": _device(device), "cache": str(datasets.cache_folder())}
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
        job = read_sealed(at / "job.json")
    except FileNotFoundError:
        raise InputError("its job.json is gone, so it is not known how it was trained", str(at)) from None
    except DamagedError as error:
        raise InputError(str(error)) from None
    if record.get("state") != records.COMPLETE:
        raise InputError("it diverged, so it has no trained network", f"trial {trial}")
    if any(job.get(key) != record.get(key) for key in ("trial", "config_hash", "seed")):
        raise InputError("is not the job of this trial", str(at / "job.json"))
    return {"data_hash": record.get("data_hash"), **job}, record


def _plugins(folder: Path, named: Sequence[str], given: Sequence[str], kept: Mapping[str, str]) -> list[str]:
    """The plugins of a trial where they are today: as given, where they were, or as the folder keeps them."""
    said = {Path(one).name: str(Path(one).resolve()) for one in given if one.endswith(".py")}
    found = [one for one in given if not one.endswith(".py")]
    for plugin in named:
        places = [
            said.get(Path(plugin).name),
            plugin,
            str(folder.absolute() / kept[plugin]) if plugin in kept else None,
        ]
        if not plugin.endswith(".py"):
            found.append(plugin)
        elif there := next((one for one in places if one is not None and Path(one).is_file()), None):
            found.append(there)
        else:
            told = f"the plugin file {plugin} is gone, and {folder} keeps no copy; say where it is: plugins=[FILE]"
            raise InputError(told)
    return list(dict.fromkeys([*found, *(one for name, one in said.items() if one not in found)]))


def _device(named: str) -> str:
    able = torch.cuda.is_available()
    if named == "auto":
        return "cuda" if able else "cpu"
    if named not in ("cpu", "cuda"):
        raise InputError(f"there is no device {named!r}{did_you_mean(named, ['auto', 'cpu', 'cuda'])}")
    if named == "cuda" and not able:
        raise InputError("no CUDA device is to be seen here; say device='cpu'")
    return named
