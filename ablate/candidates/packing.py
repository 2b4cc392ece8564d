"""Which trials can be trained as one, in a pack: decided by what components say, and by the shape of the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ablate.candidates.candidate import Candidate
from ablate.candidates.objectives import Constraint, Objective
from ablate.candidates.trial import Budget
from ablate.io.files import digest
from ablate.spec.component import InputSpec

AUTO = 8  # trials in a pack, at the most, with `pack: auto` on a GPU
NONE = "no trials are trained as one"
UNPACKED = "unpacked"  # capability of a part that has to be trained in a process's only network
SHARED = {  # what cannot be told of one trial of a pack: {column: what it is}
    **dict.fromkeys(("seconds", "train_seconds", "evaluate_seconds", "overhead_seconds"), "time"),
    **dict.fromkeys(("peak_memory_bytes", "train_memory_bytes"), "memory"),
}


def pack_size(
    pack: int | str | None,
    device: str,
    budget: Budget,
    objectives: Iterable[Objective],
    constraints: Iterable[Constraint] = (),
) -> tuple[int, str | None]:
    """Return how many trials of a study are trained as one, at the most, and a line for the user where it is one.

    pack: of the executor. `auto` is for GPUs, where the step of a small network is bound by launches.
    """
    if pack is None:
        return 1, None
    if budget.minutes is not None:
        return 1, f"{NONE}: the budget is a time, and a pack's trials share theirs; give images, steps or train_gflops"
    for objective in (*objectives, *(constraint.of for constraint in constraints)):
        if (what := SHARED.get(objective.column)) is not None:
            return (
                1,
                f"{NONE}: what one trial of a pack takes of the {what} cannot be told, and {objective.name!r} counts",
            )
    if pack == "auto":
        return (
            (AUTO, None) if device == "cuda" else (1, f"{NONE}: `pack: auto` packs on a GPU; on the CPU say a number")
        )
    return int(pack), None


def why_alone(candidate: Candidate, setting: InputSpec) -> str | None:
    """Return why a candidate's trials cannot be trained with others as one; None where nothing is known against it.

    What the network itself computes is not looked at: see `ablate.training.packed_pass.refusal`.
    """
    for _, part in candidate.parts():
        if UNPACKED in part.provides():
            return f"{part.kind} {part.name!r} is trained by itself: it says {UNPACKED!r}"
    if candidate.auxiliary:
        return f"auxiliary {candidate.auxiliary[0].name!r} reads the network beside its one pass"
    if not candidate.objective.one_pass:
        return f"objective {candidate.objective.name!r} takes more than one pass of the network at the batch"
    if candidate.recompute:
        return "recompute: true calls every block by itself"
    if candidate.compile != "none":
        return f"compile: {candidate.compile} makes code for one network"
    if candidate.capture != "none":
        return f"capture: {candidate.capture} replays the step of one network"
    if candidate.devices > 1:
        return f"devices: {candidate.devices} share the steps of one trial"
    if candidate.adapter.freezes:
        return f"adapter {candidate.adapter.name!r} trains a part of the network's weights alone"
    if candidate.layout != "contiguous":
        return f"layout: {candidate.layout} is an order of one network's weights"
    if candidate.inputs(setting).conditions:
        names = ", ".join(spec.name for spec in candidate.inputs(setting).conditions)
        return f"its network is told more than a class ({names})"
    return None


def shape_of(candidate: Candidate, setting: InputSpec, micro: int | None = None) -> str:
    """Return what two candidates have to have alike to be trained as one, as a hash.

    The network with what it is given, the images of a step and of a pass, and the number format.
    """
    alike: Mapping[str, object] = {
        "backbone": candidate.backbone.spec(),
        "shape": list(setting.shape),
        "classes": setting.classes,
        "batch": candidate.batch,
        "micro": min(micro or candidate.micro or candidate.batch, candidate.batch),
        "precision": candidate.precision.spec(),
    }
    return digest(alike)
