"""Small candidates with a part under test in its place, and learners of them, for checks of what is trained."""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate.candidates.candidate import Candidate, compose, misfits
from ablate.errors import InputError, SpecError
from ablate.kinds.auxiliary import Auxiliary
from ablate.kinds.backbone import Backbone
from ablate.kinds.data import Dataset
from ablate.kinds.embedder import Embedder
from ablate.kinds.objective import Objective
from ablate.kinds.teacher import TaughtObjective
from ablate.spec.component import Component, Config, InputSpec
from ablate.testing.case import OURS, Case, NotApplicable
from ablate.testing.small import settle, shrink
from ablate.training.beginning import Beginning
from ablate.training.building import new_network
from ablate.training.images import Images
from ablate.training.learner import Learner

CPU = torch.device("cpu")
BATCH = 4
BACKBONES = 2  # with so many networks a part is tried, at the most
HORIZON = 1000.0  # images of the training whose first steps are taken


def images_of_noise(setting: InputSpec) -> Images:
    """Return 16 training images of noise, with labels in turn."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, *setting.shape), dtype=np.uint8)
    labels = None if setting.classes is None else np.arange(16) % setting.classes
    return Images(Dataset(pixels, labels, pixels[:0], None, setting.classes, "0" * 64), CPU, cache=_cache())


def optimizer_of(case: Case) -> dict[str, Any]:
    """Return the spec of the default optimizer at a rate that is right for small networks."""
    return {"type": case.catalog.default("optimizer"), "lr": 1e-3}


def learner(candidate: Candidate, setting: InputSpec, teacher: int = 0) -> Learner:
    """Return a learner before its first step, whose terms have seen the training images.

    teacher: the seed of the weights of its teacher, if it has one.
    """
    taught = isinstance(candidate.objective, TaughtObjective)
    weights = teacher_weights(candidate, setting, teacher) if taught else None
    begun = Beginning(teacher_weights(candidate, setting, teacher)) if candidate.objective.taught_by_start else None
    made = Learner(candidate, setting, images_of_noise(setting), 0, CPU, None, weights, beginning=begun)
    made.network.train()
    made.horizon = HORIZON
    try:
        made.prepare(lambda: None)
    except InputError as error:
        raise NotApplicable(f"not to be had here: {error}") from None
    return made


def teacher_weights(candidate: Candidate, setting: InputSpec, seed: int) -> dict[str, Tensor]:
    """Return weights of a teacher: a network of the candidate, none of whose layers gives zero."""
    network = new_network(candidate, setting, 1_000_003 + seed, CPU)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network.state_dict()


def candidates(case: Case, part: Objective | Auxiliary) -> Iterator[tuple[Candidate, InputSpec]]:
    """Yield small candidates with an objective or an auxiliary in its place, each with data for it.

    The other parts are the first that provide what it requires. Raises NotApplicable where there are none.
    """
    found = 0
    for entry in case.catalog.entries("backbone"):
        plain = Case(entry, case.catalog)
        if entry.distribution not in (OURS, case.entry.distribution) or plain.lacks():
            continue
        made = _first(case, part, plain)
        if made is not None:
            found += 1
            yield made
        if found == BACKBONES:
            return
    if not found:
        needs = ", ".join(map(repr, part.requires()))
        raise NotApplicable(f"no candidate here provides what it needs: {needs}")


def _first(case: Case, part: Objective | Auxiliary, plain: Case) -> tuple[Candidate, InputSpec] | None:
    """Return the first candidate in which the part fits, with a backbone or with one thing in it changed.

    That is one of its switches, or what stands in one of its slots.
    """
    part_begins = isinstance(part, Objective) and part.taught_by_start
    needed = part.requires().keys() - ({"start_network"} if part_begins else set())
    parts = {kind: case.partners(kind) for kind in ("schedule", "target", "weighting")}
    elsewhere = _offers(*itertools.chain(*parts.values())) | {"labels", "conditions", "pictures"}
    for backbone in (*plain.variants(), *_refilled(case, plain, needed)):
        helps = _offers(backbone) & needed - _offers(plain.component)
        if not isinstance(backbone, Backbone) or backbone.requires() or not (helps or backbone == plain.component):
            continue
        try:
            setting = settle(backbone)
        except NotApplicable:
            continue
        place = {"objective": part} if isinstance(part, Objective) else {"auxiliary": [part]}
        spec = {
            "backbone": reading(backbone, part, setting, case),
            "batch": BATCH,
            "optimizer": optimizer_of(case),
            **place,
            **({"start": "baseline"} if part_begins else {}),
        }
        whole = compose(spec, case.catalog)
        told = {one.name for one in whole.inputs(setting).conditions}
        if needed - _offers(whole) - elsewhere - told:
            continue  # whatever else is chosen
        default = case.catalog.default("weighting")
        for weighting in (default, *parts["weighting"]):
            for schedule, target in itertools.product(parts["schedule"], parts["target"]):
                placed = {**spec, "schedule": schedule, "target": target, "weighting": weighting}
                if not misfits(compose(placed, case.catalog), None, setting, provided={"labels"}):
                    small = {**placed, "backbone": reading(shrink(backbone, setting), part, setting, case)}
                    return compose(small, case.catalog), setting
    return None


def _refilled(case: Case, plain: Case, needed: Collection[str]) -> Iterator[Component]:
    """Yield the backbone with what provides something needed in one of its slots."""
    for at, part in plain.component.parts():
        for other in case.partners(part.kind) if len(at) == 1 else ():
            if not other.provides().isdisjoint(needed):
                with suppress(SpecError):
                    yield plain.make(**{str(at[0]): other})


def _offers(*wholes: Config) -> frozenset[str]:
    """Return what components, and the parts in them, provide."""
    return frozenset[str]().union(*(part.provides() for whole in wholes for _, part in whole.parts()))


def reading(backbone: Backbone, part: Objective | Auxiliary, setting: InputSpec, case: Case) -> Backbone:
    """Return the backbone with an embedder for each condition of which the part tells it, where it takes embedders."""
    told = part.conditions(setting) if isinstance(part, Objective) else ()
    if not told or "embedders" not in type(backbone).model_fields:
        return backbone
    fitting = [[e for e in case.partners("embedder") if isinstance(e, Embedder) and c.form in e.forms] for c in told]
    named = [e[0].model_copy(update={"of": c.name}) for c, e in zip(told, fitting, strict=True) if e]
    return backbone.model_copy(update={"embedders": tuple(named)})


@lru_cache(maxsize=1)
def _cache() -> Path:
    """Return an empty folder that is gone with this process."""
    folder = tempfile.mkdtemp(prefix="ablate-terms-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
