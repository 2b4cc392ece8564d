"""Checks of an average of weights: it lies among what was averaged, and resumes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ablate.errors import InputError
from ablate.kinds.ema import Average, Ema
from ablate.testing.case import Case, Check

BATCH = 64


def keeps_what_is_constant(case: Case) -> None:
    """The average of weights that do not change is those weights."""
    for part in _variants(case):
        parameters = _parameters(3.0)
        average = _follow(part.build(parameters), parameters, [3.0] * 10)
        for label, weights in average.weights().items():
            for name, value in weights.items():
                distance = float((value - parameters[name]).detach().abs().max())
                assert distance <= 1e-5, f"{part!r}: average {label!r} of constants is {distance:.2g} off"


def lies_among_its_values(case: Case) -> None:
    """It never leaves the range of the weights that it saw, and moves towards those that stay."""
    for part in _variants(case):
        parameters = _parameters(0.0)
        average = part.build(parameters)
        last = dict.fromkeys(average.weights(), 0.0)
        for step in range(1, 40):
            _set(parameters, 1.0)
            average.update(step * BATCH, BATCH)
            for label, weights in average.weights().items():
                now = float(next(iter(weights.values())).detach().flatten()[0])
                assert last[label] - 1e-6 <= now <= 1 + 1e-6, (
                    f"{part!r}: {label!r} goes from {last[label]:g} to {now:g}"
                )
                last[label] = now
        assert all(value > 0 for value in last.values()), f"{part!r}: does not follow the weights: {last}"


def has_weights_for_every_parameter(case: Case) -> None:
    """Each average has a label, and a tensor of the same shape for every parameter; the network is left alone."""
    for part in _variants(case):
        parameters = _parameters(1.0)
        before = {name: p.detach().clone() for name, p in parameters.items()}
        average = part.build(parameters)
        average.update(BATCH, BATCH)
        assert average.weights(), f"{part!r}: offers no weights"
        for label, weights in average.weights().items():
            assert label.strip(), f"{part!r}: an average without a label"
            shapes = {name: value.shape for name, value in weights.items()}
            assert shapes == {name: p.shape for name, p in parameters.items()}, (
                f"{part!r}: {label!r} holds other weights"
            )
        assert all(torch.equal(p, before[name]) for name, p in parameters.items()), f"{part!r}: changes the network"


def resumes_where_it_stopped(case: Case) -> None:
    """With its state loaded, a new average goes on to the same weights."""
    values = [0.0, 1.0, -2.0, 0.5, 3.0, 1.0]
    for part in _variants(case):
        parameters, others = _parameters(0.0), _parameters(0.0)
        average = _follow(part.build(parameters), parameters, values[:3])
        _set(others, values[2])
        resumed = part.build(others)
        resumed.load({name: value.clone() for name, value in average.state().items()})
        _follow(average, parameters, values[3:], steps_done=3)
        _follow(resumed, others, values[3:], steps_done=3)
        for label, weights in average.weights().items():
            again = resumed.weights()[label]
            same = all(torch.equal(value, again[name]) for name, value in weights.items())
            assert same, f"{part!r}: {label!r} goes on differently from its own state"


def measures_what_it_promises(case: Case) -> None:
    """At the end of training each average that is measured has a label and lies among the weights that it saw.

    Lengths that it says can be rebuilt can be, to averages of the same kind; others are refused.
    """
    for part in _variants(case):
        parameters, snapshots, total = _parameters(0.0), _Snapshots(), 40 * BATCH
        average = part.build(parameters)
        for step in range(1, 41):
            _set(parameters, step / 40)
            average.update(step * BATCH, BATCH)
            if average.due(step * BATCH, BATCH, total) or step == 40:
                snapshots.keep(step * BATCH, average.snapshot())
        ends = part.lengths(snapshots.images)
        rebuilt = part.rebuild(ends, snapshots) if ends else {}
        for label, weights in {**part.measured(average, snapshots), **rebuilt}.items():
            assert label.strip() and weights.keys() == parameters.keys(), f"{part!r}: {label!r} holds other weights"
            for name, value in weights.items():
                assert value.shape == parameters[name].shape, f"{part!r}: {label!r} has {name} in another shape"
                low, high = value.detach().aminmax()
                assert 0 < float(low) <= float(high) <= 1.001, f"{part!r}: {label!r} leaves its values"
        for length in (ends[0] / 2, ends[1] * 2) if ends else (0.1,):
            with contextlib.suppress(InputError):
                part.rebuild([length], snapshots)
                raise AssertionError(f"{part!r}: rebuilds {length:g}, though it can give {ends}")


def does_the_same_until_it_says(case: Case) -> None:
    """Until `same_until` of a training, it keeps the snapshots that longer trainings keep."""
    total = 40 * BATCH
    for part in _variants(case):
        average, until = part.build(_parameters(0.0)), part.same_until(total)
        for images in (n for n in range(BATCH, total + 1, BATCH) if n <= until):
            due = {longer: average.due(images, BATCH, longer) for longer in (total, total * 3 // 2, 3 * total)}
            assert len(set(due.values())) == 1, (
                f"{part!r}: says that it does the same until {until:g} images, however long the training is, and a "
                f"snapshot is due after {images} in one length of {due}"
            )


class _Snapshots:
    """Snapshots in memory."""

    def __init__(self) -> None:
        self.images: list[int] = []
        self._tensors: dict[int, dict[str, Tensor]] = {}

    def keep(self, images: int, tensors: Mapping[str, Tensor]) -> None:
        """Store a snapshot; one that is empty does not count."""
        if tensors:
            self.images.append(images)
            self._tensors[images] = {name: value.clone() for name, value in tensors.items()}

    def load(self, images: int) -> dict[str, Tensor]:
        """Return a snapshot in fp32."""
        return {name: value.float() for name, value in self._tensors[images].items()}


def _variants(case: Case) -> list[Ema]:
    return [part for part in case.variants(numbers=True) if isinstance(part, Ema)]


def _parameters(value: float) -> dict[str, nn.Parameter]:
    return {"w": nn.Parameter(torch.full((3, 2), value)), "b": nn.Parameter(torch.full((2,), value))}


def _set(parameters: dict[str, nn.Parameter], value: float) -> None:
    with torch.no_grad():
        for p in parameters.values():
            p.fill_(value)


def _follow(average: Average, parameters: dict[str, nn.Parameter], values: list[float], steps_done: int = 0) -> Average:
    for step, value in enumerate(values, start=steps_done + 1):
        _set(parameters, value)
        average.update(step * BATCH, BATCH)
    return average


CHECKS: tuple[Check, ...] = (
    keeps_what_is_constant,
    lies_among_its_values,
    has_weights_for_every_parameter,
    resumes_where_it_stopped,
    measures_what_it_promises,
    does_the_same_until_it_says,
)
