"""Checks of an optimizer: it goes downhill, and resumes where it stopped."""

from __future__ import annotations

import copy
import math
from collections import Counter

import torch
from torch import Tensor, nn

from ablate.kinds.optimizer import RATE_SHARE, Optimizer
from ablate.kinds.parameters import Parameters, trained_parameters
from ablate.testing.case import Case, Check

STEPS = 60
SHARE = 0.5  # of the initial loss that may be left
BUDGET = 10_000


def descends_a_quadratic(case: Case) -> None:
    """At a rate of 0.03 it takes at least half of a well-conditioned quadratic's value away in 60 steps."""
    for part in _variants(case):
        parameters = _parameters()
        optimizer = _with(part, lr=0.03).build(Parameters.of(parameters))
        first = float(_value(parameters).detach())
        for _ in range(STEPS):
            _step(optimizer, parameters)
        last = float(_value(parameters).detach())
        assert last <= SHARE * first, f"{part!r}: the value goes from {first:.3g} to {last:.3g}"


def moves_at_its_own_rate(case: Case) -> None:
    """Every parameter with a gradient moves, by something finite; one without stays, weight decay apart."""
    parameters = _parameters()
    still = nn.Parameter(torch.zeros(3))
    before = [p.detach().clone() for p in parameters]
    _step(_part(case).build(Parameters.of([*parameters, still])), parameters)
    for p, b in zip(parameters, before, strict=True):
        assert p.isfinite().all() and not torch.equal(p, b), f"a parameter of shape {tuple(p.shape)} does not move"
    assert not still.any(), "a parameter without a gradient moves"


def resumes_where_it_stopped(case: Case) -> None:
    """With its state loaded, a new optimizer takes the same step."""
    for part in _variants(case):
        parameters = _parameters()
        optimizer = part.build(Parameters.of(parameters))
        for _ in range(3):
            _step(optimizer, parameters)
        others = [nn.Parameter(p.detach().clone()) for p in parameters]
        resumed = part.build(Parameters.of(others))
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        _step(optimizer, parameters)
        _step(resumed, others)
        assert all(map(torch.equal, parameters, others)), f"{part!r}: goes on differently from its own state dict"


def keeps_its_rate_within_bounds(case: Case) -> None:
    """The rate is at least 0 and at most `lr` all along the budget and beyond, and rises while it warms up."""
    for part in _variants(case):
        for warmup in (0, 1000):
            warming = _with(part, warmup=warmup)
            rates = [warming.rate(images, BUDGET) for images in range(0, 2 * BUDGET, 100)]
            assert all(0 <= rate <= warming.lr * (1 + 1e-9) for rate in rates), (
                f"{warming!r}: {min(rates)} to {max(rates)}"
            )
            warm = rates[: warmup // 100]
            assert warm == sorted(warm), f"{warming!r}: falls while it warms up"


def trains_every_parameter_once(case: Case) -> None:
    """Every parameter of a network lies in one group, whose share of the rate is at least 0 and finite."""
    network = nn.Module()
    network.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3)) for _ in range(2))
    network.classes, network.head = nn.Embedding(4, 3), nn.Linear(3, 2)
    parameters = trained_parameters(network)
    for part in case.variants(numbers=True):
        assert isinstance(part, Optimizer)
        groups = part.build(parameters).param_groups
        grouped = Counter(id(p) for group in groups for p in group["params"])
        wrong = [one.name for one in parameters.named if grouped[id(one.parameter)] != 1]
        assert not wrong, f"{part!r}: {', '.join(wrong)} lie in no group, or in several"
        shares = [group.get(RATE_SHARE, 1.0) for group in groups]
        assert all(isinstance(share, float) and 0 <= share < math.inf for share in shares), f"{part!r}: shares {shares}"


def does_the_same_until_it_says(case: Case) -> None:
    """Until `same_until` of a training, its rate is that of longer trainings: they can go on from its checkpoint."""
    for part in _variants(case):
        for warming in (_with(part, warmup=0), _with(part, warmup=BUDGET // 10)):
            until = warming.same_until(BUDGET)
            for images in (n for n in range(100, BUDGET + 1, 100) if n <= until):
                rates = {longer: warming.rate(images, longer) for longer in (BUDGET, BUDGET * 3 // 2, 3 * BUDGET)}
                assert len(set(rates.values())) == 1, (
                    f"{warming!r}: says that it does the same until {until:g} images, whatever the budget is, and its "
                    f"rate after {images} is {rates}"
                )


def _part(case: Case) -> Optimizer:
    part = case.component
    assert isinstance(part, Optimizer)
    return part


def _variants(case: Case) -> list[Optimizer]:
    return [part for part in case.variants() if isinstance(part, Optimizer)]


def _with(part: Optimizer, **changes: object) -> Optimizer:
    return part.model_copy(update=changes)


def _parameters() -> list[nn.Parameter]:
    """Return a matrix and a vector, at a distance of about one from where the value is least."""
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((8, 4), (6,))]


def _value(parameters: list[nn.Parameter]) -> Tensor:
    return torch.stack([(p - 0.1).square().sum() for p in parameters]).sum()


def _step(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    for p in parameters:
        p.grad = None
    _value(parameters).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


CHECKS: tuple[Check, ...] = (
    descends_a_quadratic,
    moves_at_its_own_rate,
    resumes_where_it_stopped,
    keeps_its_rate_within_bounds,
    trains_every_parameter_once,
    does_the_same_until_it_says,
)
