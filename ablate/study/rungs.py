"""The rungs of a study's fidelity: whether candidates can be measured there, and by what they are judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ablate.candidates.objectives import KNOWN_BEFOREHAND, POINT, Constraint, Objective
from ablate.errors import Problem
from ablate.kinds.fidelity import Fidelity
from ablate.study.schema import Study


def rung_problems(study: Study, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> list[Problem]:
    """Return why candidates of this study cannot be judged at the rungs of its fidelity; [] where they can."""
    if study.fidelity.rungs():
        return list(_problems(study, objectives, constraints))
    if study.evaluate.at_samples is not None and study.evaluate.during is None:
        message = "is the number of samples at points of the training: say at or every, or leave it out"
        return [Problem(("evaluate", "at_samples"), f"at_samples {message}")]
    return []


def describe_fidelity(fidelity: Fidelity, candidates: int) -> list[str]:
    """Return a line on who is trained how far; none where every candidate is trained to the end."""
    if not fidelity.rungs():
        return []
    rungs = ", ".join(f"{share:g}" for share in fidelity.rungs())
    share = f"{fidelity.share(candidates):.0%}".replace("%", " %")
    return [
        f"fidelity {fidelity.name!r}: candidates pause at {rungs} of their budget, and who does well goes on; "
        f"about {share} of the training that all of them to the end would take"
    ]


def _problems(study: Study, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> Iterator[Problem]:
    name = study.fidelity.name
    if not study.evaluate.metrics:
        yield Problem(("fidelity",), f"{name!r} decides by what is measured, and evaluate.metrics is empty")
        return
    if study.evaluate.every is not None:
        message = f"fidelity {name!r} measures at shares of the budget: say evaluate.at in place of evaluate.every"
        yield Problem(("evaluate", "every"), message)
    elif (problem := study.evaluation.too_few_during()) is not None:
        yield Problem(("evaluate",), f"at the rungs of fidelity {name!r}: {problem}")
    if objectives and all(o.column in KNOWN_BEFOREHAND for o in objectives):
        yield Problem(("fidelity",), f"{name!r} decides by what is measured, and no objective is: name a metric")
    for i, objective in enumerate(objectives):
        if not _known_at_rungs(objective):
            yield Problem(("objectives", i) if study.objectives else ("objectives",), _late(objective, name))
    for constraint in constraints:
        if not _known_at_rungs(constraint.of):
            yield Problem(("constraints", constraint.of.name), _late(constraint.of, name))


def _known_at_rungs(objective: Objective) -> bool:
    return objective.column in (*KNOWN_BEFOREHAND, *POINT) or not objective.is_recorded


def _late(objective: Objective, fidelity: str) -> str:
    return f"{objective.name!r} is known at the end of a trial alone, and fidelity {fidelity!r} decides before it"
