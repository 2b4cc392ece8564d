"""Checks of a design: it proposes what there is, each once, and decides by its seed alone."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

from ablate.errors import InputError
from ablate.kinds.design import Design, Dimension
from ablate.testing.case import Case, Check, NotApplicable

CHOICES = [
    Dimension("backbone.conditioning", ("a", "b", "c"), baseline="c"),
    Dimension("target", ("epsilon", "v"), baseline="epsilon"),
    Dimension("batch", (64, 128), baseline=32),
]
RANGE = Dimension("optimizer.lr", low=1e-5, high=1e-2, log=True, baseline=1e-4)
SPACES: list[list[Dimension]] = [[], CHOICES[:1], CHOICES]
TRIALS = 8


def proposes_what_there_is(case: Case) -> None:
    """Every proposal keeps to the dimensions, to their choices or the baseline; the same proposals every time."""
    for part in _variants(case):
        for dimensions in SPACES:
            proposals = part.proposals(dimensions)
            if proposals is None:
                continue
            assert proposals, f"{part!r}: proposes nothing for {len(dimensions)} dimensions"
            assert list(proposals) == list(part.proposals(dimensions) or ()), (
                f"{part!r}: proposes something else each time"
            )
            for assignment in proposals:
                for path, label in assignment.items():
                    dimension = next((d for d in dimensions if d.path == path), None)
                    assert dimension is not None, f"{part!r}: proposes {path}, which does not vary"
                    assert label in dimension.choices or label == dimension.baseline, (
                        f"{part!r}: {path} = {label!r} is no choice"
                    )


def proposes_each_once(case: Case) -> None:
    """No candidate is proposed twice, and `candidates` says how many there are at the most."""
    for part in _variants(case):
        for dimensions in SPACES:
            count, proposals = part.candidates(dimensions), part.proposals(dimensions)
            assert count >= 1, f"{part!r}: {count} candidates"
            if proposals is not None:
                distinct = {json.dumps(dict(one), sort_keys=True) for one in proposals}
                assert len(distinct) == len(proposals), (
                    f"{part!r}: {len(proposals) - len(distinct)} proposals come twice"
                )
                assert count == len(proposals), f"{part!r}: says {count} candidates and proposes {len(proposals)}"


def takes_or_refuses_a_range(case: Case) -> None:
    """A range is searched, or refused with an InputError that says where."""
    for part in _variants(case):
        try:
            part.proposals([RANGE])
            part.candidates([RANGE])
        except InputError as error:
            assert RANGE.path in str(error), f"{part!r}: its refusal does not name {RANGE.path}: {error}"


def is_decided_by_its_seed(case: Case) -> None:
    """Where it leaves the choice to a sampler: one seed asks for the same candidates, another for others."""
    searching = [part for part in _variants(case) if part.proposals(CHOICES) is None]
    for part in _variants(case):
        part.sampler(0)
    if not searching:
        raise NotApplicable("it lists its candidates beforehand")
    for part in searching:
        first = _proposals(part, 1)
        assert first == _proposals(part, 1), f"{part!r}: asks for something else with the same seed"
        assert first != _proposals(part, 2), f"{part!r}: asks for the same whatever the seed"


def takes_the_candidates_it_is_given(case: Case) -> None:
    """One that says `takes_candidates` proposes those and the baseline, and refuses what the study does not have."""
    field = getattr(case.entry.cls, "takes_candidates", None)
    if field is None:
        raise NotApplicable("it takes no candidates one by one")
    assert field in case.entry.cls.model_fields, f"it has no field {field!r}, which is to take candidates"
    dimensions = [*CHOICES, RANGE]
    baseline: dict[str, Any] = {d.path: d.baseline for d in dimensions}
    given: list[dict[str, Any]] = [
        {"target": "v", "optimizer.lr": 1e-3},
        {"backbone.conditioning": "a", "batch": 64},
        {"batch": 128},
    ]
    part = case.make(**{field: given})
    assert isinstance(part, Design)
    proposed = [{**baseline, **assignment} for assignment in part.proposals(dimensions) or ()]
    for assignment in [{}, *given]:
        told = assignment or "the baseline"
        assert {**baseline, **assignment} in proposed, f"{part!r}: does not propose {told}"
    assert len(proposed) == 1 + len(given), f"{part!r}: proposes {len(proposed)} candidates of {1 + len(given)}"
    for wrong in ({"no.such.path": 1}, {"target": "no such choice"}, {RANGE.path: 1.0}):
        try:
            proposed = [*(case.make(**{field: [wrong]}).proposals(dimensions) or ())]  # type: ignore[attr-defined]
        except InputError:
            continue
        raise AssertionError(f"{part!r}: takes {wrong}, which the study does not have, and proposes {proposed}")


def _variants(case: Case) -> list[Design]:
    return [part for part in case.variants() if isinstance(part, Design)]


def _proposals(part: Design, seed: int) -> Sequence[Any]:
    """Return what a design asks for, with its sampler made anew for each trial, as the engine does."""
    import optuna

    proposals = []
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(directions=["minimize", "minimize"])
        for number in range(TRIALS):
            study.sampler = part.sampler(1000 * seed + number)
            trial = study.ask()
            x = trial.suggest_float("x", 0, 1)
            kind = trial.suggest_categorical("kind", ["a", "b", "c"])
            proposals.append((x, kind))
            study.tell(trial, [x, abs(x - 0.5) + (kind != "b")])
    optuna.logging.set_verbosity(verbosity)
    return proposals


CHECKS: tuple[Check, ...] = (
    proposes_what_there_is,
    proposes_each_once,
    takes_or_refuses_a_range,
    is_decided_by_its_seed,
    takes_the_candidates_it_is_given,
)
