"""Whether the number formats of a study run on a device, and what they cost there."""

from __future__ import annotations

from collections.abc import Iterator

from ablate.errors import InputError, Path, SpecError
from ablate.kinds.design import Assignment
from ablate.kinds.precision import Precision
from ablate.study.estimate import matmul_rate, plain_rate
from ablate.study.load import LoadedStudy


def check_device(loaded: LoadedStudy, device: str = "auto") -> list[str]:
    """What is slow on the device, with a measurement of how slow.

    Raises InputError for a precision that cannot be trained in there.
    """
    import torch

    on = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    warnings = []
    for precision, path in dict(_precisions(loaded)).items():
        refusal = precision.refuse_on(on)
        if refusal is not None:
            raise InputError(f"precision {precision.name!r}: {refusal}", loaded.document.where(path))
        warning = precision.warn_on(on)
        if warning is not None:
            times = plain_rate(device) / matmul_rate(precision, device)
            warnings.append(f"{warning}: a linear layer takes {times:.1f} times as long as in fp32")
    return warnings


def _precisions(loaded: LoadedStudy) -> Iterator[tuple[Precision, Path]]:
    """The precision of every candidate that is known beforehand, and where the study says it."""
    for assignment in _assignments(loaded):
        try:
            precision = loaded.candidate(assignment).precision
        except SpecError:  # a choice that works beside others alone
            continue
        said = [path for path in assignment if path.partition(".")[0] == "precision"]
        yield precision, ("vary", said[0]) if said else ("base", "precision")


def _assignments(loaded: LoadedStudy) -> list[Assignment]:
    proposals = loaded.proposals()
    if proposals is not None:
        return proposals
    of = [(d.path, label) for d in loaded.space.dimensions for label in d.choices]
    return [loaded.baseline, *({**loaded.space.context(path), path: label} for path, label in of)]
