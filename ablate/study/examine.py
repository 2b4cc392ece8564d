"""The examination of a study before anything is trained: warnings, and refusals of what cannot be."""

from __future__ import annotations

from ablate.study.counted import check_counted
from ablate.study.device import check_device
from ablate.study.ineffective import ineffective_settings
from ablate.study.loaded import LoadedStudy
from ablate.study.points import check_checkpoints, check_points
from ablate.study.reference import check_reference
from ablate.study.renamed import old_names
from ablate.study.sampling import check_sampling
from ablate.study.satisfiable import check_constraints
from ablate.study.total import check_total


def examined(loaded: LoadedStudy, device: str) -> list[str]:
    """Return what `plan` and `run` warn of. Raises InputError for what cannot be trained or measured on the device."""
    return [
        *check_device(loaded, device),
        *old_names(loaded),
        *check_sampling(loaded),
        *check_counted(loaded),
        *ineffective_settings(loaded),
        *check_points(loaded),
        *check_checkpoints(loaded),
        *check_total(loaded),
        *check_constraints(loaded),
        *check_reference(loaded),
    ]
