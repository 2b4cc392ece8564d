"""Early validation on the device: number formats (precision) and activation checkpointing (`recompute`)."""

from __future__ import annotations

from collections.abc import Iterator

from ablate.candidates.candidate import Candidate
from ablate.engine.contained import contained
from ablate.errors import InputError, Path, SpecError
from ablate.execute.share import cores
from ablate.kinds.backbone import Backbone, network_blocks
from ablate.kinds.design import Assignment
from ablate.runtime.machine import choose_device
from ablate.runtime.patient import doing
from ablate.spec.component import Component, InputSpec
from ablate.study.estimate import matmul_rate, plain_rate
from ablate.study.loaded import LoadedStudy


def check_device(loaded: LoadedStudy, device: str = "auto") -> list[str]:
    """Return warnings about what is slow on the device, with a measurement of how slow, and what has no effect.

    Raises InputError for a precision that cannot be trained in there.
    """
    import torch

    from ablate.study.capturing import capture_warnings
    from ablate.training.compiled import compiler_problem
    from ablate.worker.ranks import refuse_devices

    on = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    if device == "mps":
        on = torch.device(choose_device(device))
    candidates_and_paths = list(candidates(loaded))
    warnings = []
    for precision, path in {candidate.precision: path for candidate, path in candidates_and_paths}.items():
        refusal = precision.refuse_on(on)
        if refusal is not None:
            raise InputError(f"precision {precision.name!r}: {refusal}", loaded.document.where(path))
        warning = precision.warn_on(on)
        if warning is not None:
            times = plain_rate(device) / matmul_rate(precision, device)
            warnings.append(f"{warning}: a linear layer takes {times:.1f} times as long as in fp32")
    recomputing = {c.backbone.name: c for c, _ in candidates_and_paths if c.recompute}
    for name, candidate in recomputing.items():
        if not _has_blocks(candidate.backbone, candidate.inputs(loaded.trial_settings.setting)):
            reason = "no module of it in an nn.ModuleList has a forward pass of its own"
            warnings.append(f"recompute: true saves nothing with backbone {name!r}: {reason}")
    if any(c.compile != "none" for c, _ in candidates_and_paths) and (lacks := compiler_problem(on)) is not None:
        warnings.append(f"compile: networks are trained as they are: {lacks}")
    for candidate, path in candidates_and_paths:
        probed = bool(loaded.study.probes)
        refusal = refuse_devices(candidate, on, getattr(loaded.study.executor, "gpus", None), probed)
        if refusal is not None:
            raise InputError(refusal, loaded.document.where(("base", "devices")))
        if candidate.is_sharded and (refusal := _uncut(candidate, loaded.trial_settings.setting)) is not None:
            raise InputError(refusal, loaded.document.where(("base", "layout")))
        if on.type == "mps" and (refusal := refuse_mps(candidate)) is not None:
            raise InputError(refusal, loaded.document.where(path))
    most = max((c.devices for c, _ in candidates_and_paths), default=1)
    if on.type == "cpu" and most > cores():
        warnings.append(f"devices: {most} are as many processes on the CPU, and there are {cores()} cores here")
    if any(c.capture != "none" for c, _ in candidates_and_paths):
        warnings += capture_warnings(loaded, on, assignments(loaded))
    return warnings


def refuse_mps(candidate: Candidate) -> str | None:
    """Return which part of a candidate computes in fp64 on the device, which mps does not have; None if none does.

    The noise levels themselves, which are fp64, are drawn and computed on the CPU there.
    """
    parts: list[Component] = [*candidate.auxiliary, *([] if candidate.objective.one_pass else [candidate.objective])]
    if candidate.weighting.build() is not None:
        parts.append(candidate.weighting)
    if not parts:
        return None
    part = parts[0]
    return f"{part.kind} {part.name!r} computes in fp64, which mps does not have; say --device cpu, or leave it out"


def _uncut(candidate: Candidate, setting: InputSpec) -> str | None:
    """Return why the weights of a candidate's network cannot be sharded; None where they can, or it cannot be built."""
    import torch

    from ablate.training.sharded import uncut

    backbone = candidate.backbone
    try:
        with torch.device("meta"), doing(f"building the network of backbone {backbone.name!r}"), contained():
            why = uncut(backbone.build(candidate.inputs(setting)))
    except Exception:  # noqa: BLE001 - a plugin's own code: its trial tells
        return None
    return why and f"layout: fsdp does not go with backbone {backbone.name!r}: {why}; leave layout out"


def _has_blocks(backbone: Backbone, setting: InputSpec) -> bool:
    """Return whether there are blocks to recompute; a network that cannot be built fails later, and says why."""
    import torch

    try:
        with torch.device("meta"), doing(f"building the network of backbone {backbone.name!r}"), contained():
            return bool(network_blocks(backbone.build(setting)))
    except Exception:  # noqa: BLE001 - a plugin's own code
        return True


def candidates(loaded: LoadedStudy) -> Iterator[tuple[Candidate, Path]]:
    """Yield every candidate that is known beforehand, and where the study sets its precision."""
    for assignment in assignments(loaded):
        try:
            with doing(f"putting {loaded.names(assignment)} together"):
                candidate = loaded.candidate(assignment)
        except SpecError:  # a choice that works beside others alone
            continue
        varied = [path for path in assignment if path.partition(".")[0] == "precision"]
        yield candidate, ("vary", varied[0]) if varied else ("base", "precision")


def assignments(loaded: LoadedStudy) -> list[Assignment]:
    """Return all candidates of a finite design; else the baseline, and each choice by itself."""
    proposals = loaded.proposals()
    if proposals is not None:
        return proposals
    choices = [(d.path, label) for d in loaded.space.dimensions for label in d.choices]
    return [loaded.baseline, *({**loaded.space.context(path), path: label} for path, label in choices)]
