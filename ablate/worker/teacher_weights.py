"""The weights of a teacher: those of a finished trial's average, by which its samples were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ablate.candidates.candidate import Candidate, compose, meta_network
from ablate.candidates.objectives import trained_gflops
from ablate.discovery.catalog import Catalog
from ablate.errors import InputError, SpecError
from ablate.io.files import file_hash
from ablate.io.sealed import DamagedError
from ablate.kinds.backbone import Backbone
from ablate.kinds.ema import Ema
from ablate.kinds.start import Start
from ablate.spec.component import InputSpec
from ablate.spec.slots import create
from ablate.training.beginning import Beginning
from ablate.training.checkpoint import Checkpoint, by_prefix, newest
from ablate.training.inheritance import INHERITED, Inheritance, Lineage
from ablate.training.snapshots import Snapshots
from ablate.worker import records, teachers
from ablate.worker.messages import TeacherOfJob, TrialJob

PARENT = "its parent"  # what the trial is whose weights a candidate inherits


class Trained(NamedTuple):
    """Trained weights of a job: those that its training begins with, and those of the teacher of its objective."""

    beginning: Beginning | Inheritance | None = None
    teacher: dict[str, Tensor] | None = None


def trained_weights(
    job: TrialJob, candidate: Candidate, setting: InputSpec, catalog: Catalog, device: torch.device
) -> Trained:
    """Return the trained weights that a job needs. Raises InputError where they are gone, or are others."""
    start = candidate.start
    beginning = None if start.file is None else Beginning(weights_of_file(start, device))
    teacher = job.get("teacher")
    if teacher is None:
        return Trained(beginning)
    if start.of == "parent":
        return Trained(inheritance(teacher, candidate, setting, catalog, device))
    begins = teacher.get("start", False)
    backbone = start.backbone if begins and start.backbone is not None else candidate.backbone
    role = "the start of its training" if begins else "its teacher"
    found = teacher_weights(teacher, backbone, candidate.inputs(setting), catalog, device, role)
    return Trained(Beginning(found)) if begins else Trained(beginning, found)


def inheritance(
    teacher: TeacherOfJob, candidate: Candidate, setting: InputSpec, catalog: Catalog, device: torch.device
) -> Inheritance:
    """Return what a candidate takes over from the trial of its parent: the weights of that one's own network.

    Raises InputError where they are gone, or are others than the job was made for.
    """
    folder, where = Path(teacher["folder"]), f"{PARENT}, trial {teacher['trial']}"
    record: Mapping[str, Any] = records.read_valid(folder) or {}
    try:
        spec = records.job_of(folder, record)["candidate"]
    except (FileNotFoundError, DamagedError) as error:
        raise InputError(f"does not say which network it has: {error}", where) from None
    parent = compose(spec, catalog)
    weights = teacher_weights(teacher, parent.backbone, parent.inputs(setting), catalog, device, PARENT)
    before: Mapping[str, Any] = record.get(INHERITED, {})
    lineage = Lineage(
        teacher["trial"].partition("-")[0],
        1 + int(before.get("ancestors", 0)),
        (trained_gflops(record) or 0.0) + float(before.get("train_gflops", 0.0)),
    )
    return Inheritance(weights, parent, candidate, setting, lineage)


def teacher_weights(
    teacher: TeacherOfJob,
    backbone: Backbone,
    setting: InputSpec,
    catalog: Catalog,
    device: torch.device,
    role: str = "its teacher",
) -> dict[str, Tensor]:
    """Return the teacher's averaged weights and its buffers, by their names in its network, `backbone`.

    role: what the trial is to the one that needs its weights, in messages. Raises InputError where they are gone, are
    others than the job was made for, or are those of another network.
    """
    folder, where = Path(teacher["folder"]), f"{role}, trial {teacher['trial']}"
    found = teachers.weights_hash(folder)
    checkpoint = None if found is None else newest(folder / "checkpoint", str(device))
    if checkpoint is None:
        again = f"; bring that back, or remove {folder}, so that it is trained again" if role == PARENT else ""
        raise InputError(
            f"has no trained weights in {folder}: it is not complete, or its checkpoint is gone{again}", where
        )
    if teacher.get("weights") not in (None, found):
        raise InputError(f"has other weights in {folder} than when this run began", where)
    parts = by_prefix(checkpoint.tensors)
    network = meta_network(backbone, setting)
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in parts["network"].items()}:
        raise InputError("has weights of another network than this candidate's, or adapted ones", where)
    names = [name for name, _ in network.named_parameters()]
    averaged = _average({name: parts["network"][name] for name in names}, checkpoint, folder, catalog, where)
    return {**parts["network"], **averaged}


def weights_of_file(start: Start, device: torch.device) -> dict[str, Tensor]:
    """Return the weights of a safetensors file: a state dict of a network, or a trial's checkpoint.

    Raises InputError where it is gone, is none, or holds others than when the study was read.
    """
    file = Path(str(start.file))
    try:
        if start.identity not in (None, file_hash(file)):
            raise InputError("holds other weights than when the study was read", str(file))
        tensors = load_file(file, device=str(device))
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot be read as safetensors: {error}", str(file)) from None
    return by_prefix(tensors)["network"] if any(name.startswith("network.") for name in tensors) else tensors


def _average(
    parameters: Mapping[str, Tensor], checkpoint: Checkpoint, folder: Path, catalog: Catalog, where: str
) -> Mapping[str, Tensor]:
    """Return the average that counts, by which the teacher was measured."""
    try:
        job = records.job_of(folder, records.read_valid(folder) or {})
        ema = create(Ema, job["candidate"]["ema"], catalog)
    except (FileNotFoundError, DamagedError) as error:
        raise InputError(f"does not say how its weights were averaged: {error}", where) from None
    except SpecError as error:
        raise InputError(f"has an average that is not known here: {error.message}", where) from None
    average = ema.build(parameters)
    average.load(by_prefix(checkpoint.tensors)["average"])
    snapshots = Snapshots(folder / "snapshots")
    snapshots.expect(checkpoint.facts.get("snapshots", {}))
    return next(iter(ema.measured(average, snapshots).values()))
