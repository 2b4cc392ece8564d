"""A teacher compared with its student: the data, the network, the process, and what the teacher was trained for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ablate.candidates.candidate import Candidate
from ablate.discovery import provenance
from ablate.errors import InputError, SpecError
from ablate.kinds.backbone import Backbone
from ablate.kinds.data import Data
from ablate.kinds.ema import Ema
from ablate.kinds.guidance import Guidance
from ablate.kinds.objective import Objective
from ablate.kinds.precondition import Precondition
from ablate.kinds.schedule import Schedule
from ablate.kinds.target import Target
from ablate.kinds.teacher import TaughtObjective
from ablate.runtime.machine import cache_folder
from ablate.spec.component import Component
from ablate.spec.slots import create
from ablate.study import dataset
from ablate.study.differences import differences

if TYPE_CHECKING:
    from ablate.study.fit import Fit

SAME: Mapping[str, type[Component]] = {
    "backbone": Backbone,
    "schedule": Schedule,
    "target": Target,
    "precondition": Precondition,
}


def differences_of(job: Mapping[str, Any], record: Mapping[str, Any], student: Candidate, fit: Fit) -> Iterator[str]:
    """Yield why the network of a finished trial cannot teach a candidate. job, record: of the trial."""
    spec = job["candidate"]
    try:
        parts = {name: create(kind, spec[name], fit.catalog) for name, kind in SAME.items()}
        objective = create(Objective, spec.get("objective", fit.catalog.default("objective")), fit.catalog)
        guidance = create(Guidance, spec["guidance"], fit.catalog)
        data = create(Data, job["data"], fit.catalog)
        ema = create(Ema, spec["ema"], fit.catalog)
    except SpecError as error:
        yield f"it was trained with something that is not known here: {error.message}"
        return
    if data.active() != fit.data.active() and not _same_pictures(record, fit.data):
        yield f"it was trained on other data: {'; '.join(differences(data.active(), fit.data.active(), 'data'))}"
    for name, part in parts.items():
        now: Component = getattr(student, name)
        if part.active() != now.active():
            lines = "; ".join(differences(part.active(), now.active(), name))
            yield f"its {name} is another, and its weights mean nothing with this one: {lines}"
    if spec.get("sigma_data") != student.sigma_data:
        yield f"its sigma_data is {spec.get('sigma_data')}, and here it is {student.sigma_data}"
    if student.drops().together > 0 and max(guidance.drop_rate(), objective.drop_rate()) == 0:
        yield "it has never seen an image without its label, and guidance here drops labels; use guidance 'none'"
    assert isinstance(student.objective, TaughtObjective)
    if (reason := student.objective.refuse_teacher(objective)) is not None:
        yield f"it {reason}"
    if record.get("hashes") == provenance.SCHEME:
        used = fit.catalog.used(p for part in (*parts.values(), ema) for _, p in part.parts())
        then = record.get("sources", {})
        if other := [name for name, entry in used.items() if then.get(name, entry.source_hash) != entry.source_hash]:
            yield f"it was trained with other source than there is today of {', '.join(other)}; restore that source"


def _same_pictures(record: Mapping[str, Any], data: Data) -> bool:
    """Return whether data that are named otherwise are the same images."""
    then = record.get("data_hash")
    try:
        return then is not None and dataset.hash_of(data, cache_folder()) == then
    except (InputError, OSError):
        return False
