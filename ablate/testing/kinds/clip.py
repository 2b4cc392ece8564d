"""Checks of a clipping: it tells the norm as it was, and makes no gradient longer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ablate.kinds.clip import Clip
from ablate.testing.case import Case, Check

SCALES = (1e-3, 1.0, 1e3)


def tells_the_norms(case: Case) -> None:
    """Two 0-d tensors: the L2 norm of all gradients together, as they came in and as they went out."""
    for part, parameters, before in _gradients(case):
        norms = part.apply(parameters)
        after = [p.grad for p in parameters.values() if p.grad is not None]
        for when, one, grads in zip(("before", "after"), norms, (before, after), strict=True):
            norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads))
            assert isinstance(one, torch.Tensor) and one.shape == (), f"{part!r}: gives {one!r}, not a 0-d tensor"
            assert math.isclose(float(one), norm, rel_tol=1e-4), (
                f"{part!r}: tells {float(one):g} of a norm of {norm:g} {when} clipping"
            )


def only_shortens(case: Case) -> None:
    """Gradients stay finite, none grows, and none turns against its old direction."""
    for part, parameters, before in _gradients(case):
        part.apply(parameters)
        *moved, still = parameters.values()
        for p, old in zip(moved, before, strict=True):
            assert p.grad is not None and p.grad.isfinite().all(), f"{part!r}: a gradient is not finite"
            assert float(p.grad.norm()) <= float(old.norm()) * (1 + 1e-5), f"{part!r}: a gradient grows"
            assert float((p.grad * old).sum()) >= 0, f"{part!r}: a gradient turns round"
        assert still.grad is None, f"{part!r}: gives a gradient to a parameter that had none"


def survives_nothing_and_tells_of_nan(case: Case) -> None:
    """Gradients of zero, or none at all, give norm 0 and stay; one that is NaN makes the norm NaN."""
    for part in _variants(case):
        parameters = _parameters(0.0)
        assert [float(n) for n in part.apply(parameters)] == [0, 0], f"{part!r}: zero gradients have norm 0"
        moved = any(p.grad is not None and p.grad.any() for p in parameters.values())
        assert not moved, f"{part!r}: moves gradients of zero"
        alone = dict([parameters.popitem()])
        assert float(part.apply(alone).before) == 0, f"{part!r}: no gradients have norm 0"
        parameters = _parameters(math.nan)
        assert not math.isfinite(float(part.apply(parameters).before)), f"{part!r}: a NaN in the gradients is not told"


def _gradients(case: Case) -> list[tuple[Clip, dict[str, nn.Parameter], list[Tensor]]]:
    """Return parameters with gradients of several sizes, the last without, and copies of the gradients."""
    cases = []
    for part in _variants(case):
        for scale in SCALES:
            parameters = _parameters(scale)
            cases.append((part, parameters, [p.grad.clone() for p in parameters.values() if p.grad is not None]))
    return cases


def _variants(case: Case) -> list[Clip]:
    return [part for part in case.variants(numbers=True) if isinstance(part, Clip)]


def _parameters(scale: float) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"in.weight": (5, 4), "in.bias": (5,), "mid.weight": (2, 3, 3, 3), "out.weight": (3, 2), "out.bias": (3,)}
    parameters = {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
    for p in list(parameters.values())[:-1]:
        p.grad = torch.randn(p.shape, generator=generator) * scale
    return parameters


CHECKS: tuple[Check, ...] = (tells_the_norms, only_shortens, survives_nothing_and_tells_of_nan)
