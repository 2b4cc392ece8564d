"""Warnings about trainings whose cost cannot be counted."""

from __future__ import annotations

from collections.abc import Iterator

from ablate.candidates.candidate import Candidate, cost_of, format_component
from ablate.engine.contained import contained
from ablate.kinds.guides import WeakerGuidance
from ablate.runtime.patient import doing
from ablate.spec.component import Component, InputSpec
from ablate.spec.explain import exception_summary
from ablate.study.device import candidates
from ablate.study.estimate import counted_pass
from ablate.study.loaded import LoadedStudy


def check_counted(loaded: LoadedStudy) -> list[str]:
    """Return a line for each way to train that does more than a pass of the network, and cannot be counted."""
    reasons: dict[str, str] = {}
    for candidate, _ in candidates(loaded):
        what = " and ".join(format_component(part) for part in _deciding(candidate))
        if what not in reasons and (why := _uncounted(candidate, loaded.trial_settings.setting)) is not None:
            reasons[what] = why
    taken = "what training takes cannot be counted, and is taken as three forward passes"
    return [f"{what}: {taken} ({why})" for what, why in reasons.items()]


def _deciding(candidate: Candidate) -> Iterator[Component]:
    """Yield the components that make of a step more, or less, than a pass of the network."""
    yield from (candidate.objective, *candidate.auxiliary)
    if isinstance(candidate.guidance, WeakerGuidance):
        yield candidate.guidance
    if candidate.adapter.freezes:
        yield candidate.adapter


def _uncounted(candidate: Candidate, setting: InputSpec) -> str | None:
    """Return why it cannot be counted; None where it can, or where the network itself fails, which its trials tell."""
    try:
        with doing(f"counting a training step with objective {candidate.objective.name!r}"), contained():
            counted_pass(candidate, setting)
    except Exception as error:  # noqa: BLE001 - a plugin's own code
        try:
            with contained():
                cost_of(candidate.backbone, candidate.inputs(setting))
        except Exception:  # noqa: BLE001 - as above
            return None
        return exception_summary(error)
    return None
