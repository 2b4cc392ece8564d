"""What a study's plan says of packs: which candidates are trained as one, and why others are not."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.candidates.candidate import Candidate
from ablate.candidates.packing import pack_size, shape_of, why_alone
from ablate.engine.contained import contained
from ablate.runtime.patient import doing
from ablate.spec.component import InputSpec
from ablate.spec.explain import exception_summary
from ablate.study.loaded import LoadedStudy

SHOWN = 8  # candidates in a line


def describe_packs(loaded: LoadedStudy, device: str) -> list[str]:
    """Return lines on the packs of a study, where its executor forms some; each network is tried on the meta device."""
    executor, settings = loaded.study.executor, loaded.trial_settings
    pack = None if executor is None else executor.pack
    size, note = pack_size(pack, device, settings.budget, loaded.objectives, loaded.constraints)
    if size < 2:
        return [] if note is None else [note]
    together: dict[str, list[str]] = {}
    apart: dict[str, list[str]] = {}
    refusals: dict[str, str | None] = {}  # by shape
    proposals = loaded.proposals()
    for assignment in [loaded.baseline] if proposals is None else proposals:
        name, candidate = loaded.names(assignment), loaded.candidate(assignment)
        shape = shape_of(candidate, settings.setting)
        reason = why_alone(candidate, settings.setting)
        if reason is None:
            if shape not in refusals:
                with doing(f"trying whether {name} can be trained with others as one"):
                    refusals[shape] = _refusal(candidate, settings.setting)
            reason = refusals[shape]
        if reason is None:
            together.setdefault(shape, []).append(name)
        else:
            apart.setdefault(reason, []).append(name)
    seeds = loaded.study.design.seeds
    lines = []
    for names in together.values():
        if seeds * len(names) > 1:
            of_each = f" ({seeds} seeds each)" if seeds > 1 else ""
            lines.append(f"trained as one, up to {size} trials at a time: {_listed(names)}{of_each}")
        else:
            lines.append(f"trained by itself: {names[0]} (no other trial has a network of its shape)")
    return [*lines, *(f"trained by itself: {_listed(names)} ({reason})" for reason, names in apart.items())]


def _refusal(candidate: Candidate, setting: InputSpec) -> str | None:
    from ablate.training.packed_pass import refusal

    try:
        with contained():
            return refusal(candidate.backbone, setting)
    except Exception as error:  # noqa: BLE001 - a network that cannot be built; its row says so
        return exception_summary(error).splitlines()[0]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
