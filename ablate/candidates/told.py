"""What a candidate's network is told: whether it reads each condition, and once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ablate.errors import Path, Problem
from ablate.kinds.augmentation import Augmentation
from ablate.kinds.backbone import Backbone
from ablate.kinds.embedder import Embedder
from ablate.kinds.objective import Objective
from ablate.spec.inputs import ConditionSpec, InputSpec


def misnamed(parts: Iterable[Augmentation | Objective], setting: InputSpec, path: Path) -> Iterator[Problem]:
    """Yield which conditions of the data have the name of one that the candidate itself tells its network."""
    of_data = {spec.name: spec for spec in setting.conditions}
    for part in parts:
        for spec in part.conditions(setting):
            if of_data.get(spec.name, spec) != spec:
                message = f"{part.kind} {part.name!r} tells the network a condition {spec.name!r}, and so do the data"
                yield Problem((*path, part.kind), f"{message}; give theirs another name: called: …")


def unread(backbone: Backbone, setting: InputSpec, path: Path) -> Iterator[Problem]:
    """Yield which conditions the network is told and does not read, or embeds twice.

    Nothing where an embedder is refused: what it was meant to embed is not known.
    """
    embedders = [part for _, part in backbone.parts() if isinstance(part, Embedder)]
    if any(part.refuse(setting) is not None for part in embedders):
        return
    read, embedded = backbone.reads(setting), [part.condition(setting).name for part in embedders]
    for name in sorted({name for name in embedded if embedded.count(name) > 1}):
        yield Problem((*path, "backbone"), f"two embedders embed the condition {name!r}; leave one out")
    for spec in setting.conditions:
        if spec.name not in read:
            yield Problem((*path, "backbone"), _advice(backbone, spec))


def _advice(backbone: Backbone, spec: ConditionSpec) -> str:
    reason = f"backbone {backbone.name!r} does not read the condition {spec.name!r} ({spec.form})"
    if "embedders" not in type(backbone).model_fields:
        return f"{reason}; take another backbone, or leave the condition out"
    remedy = f"say backbone.embedders: [{{type: …, of: {spec.name}}}] with one that embeds this form"
    return f"{reason}; {remedy}, or leave the condition out"
