"""Checks of a clipping: it tells the norm as it was, and makes no gradient longer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ablate.kinds.clip import Clip
from ablate.testing.case import Case, Check

SCALES = (1e-3, 1.0, 1e3)


def tells_the_norm_before_clipping(case: Case) -> None:
    """A 0-d tensor: the L2 norm of all gradients together, as they came in."""
    for part, parameters, before in _gradients(case):
        told = part.apply(parameters)
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in before))
        assert isinstance(told, torch.Tensor) and told.shape == (), f"{part!r}: gives {told!r}, not a 0-d tensor"
        assert math.isclose(float(told), norm, rel_tol=1e-4), f"{part!r}: tells {float(told):g} of a norm of {norm:g}"


def only_shortens(case: Case) -> None:
    """Gradients stay finite, none grows, and none turns against its old direction."""
    for part, parameters, before in _gradients(case):
        part.apply(parameters)
        for p, old in zip(parameters[:-1], before, strict=True):
            assert p.grad is not None and p.grad.isfinite().all(), f"{part!r}: a gradient is not finite"
            assert float(p.grad.norm()) <= float(old.norm()) * (1 + 1e-5), f"{part!r}: a gradient grows"
            assert float((p.grad * old).sum()) >= 0, f"{part!r}: a gradient turns round"
        assert parameters[-1].grad is None, f"{part!r}: gives a gradient to a parameter that had none"


def survives_nothing_and_tells_of_nan(case: Case) -> None:
    """Gradients of zero, or none at all, give norm 0 and stay; one that is NaN makes the norm NaN."""
    for part in _variants(case):
        parameters = _parameters(0.0)
        assert float(part.apply(parameters)) == 0, f"{part!r}: zero gradients have norm 0"
        assert all(p.grad is None or not p.grad.any() for p in parameters), f"{part!r}: moves gradients of zero"
        assert float(part.apply(parameters[-1:])) == 0, f"{part!r}: no gradients have norm 0"
        parameters = _parameters(math.nan)
        assert not math.isfinite(float(part.apply(parameters))), f"{part!r}: a NaN in the gradients is not told"


def _gradients(case: Case) -> list[tuple[Clip, list[nn.Parameter], list[Tensor]]]:
    """Parameters with gradients of several sizes, the last without, and copies of the gradients."""
    found = []
    for part in _variants(case):
        for scale in SCALES:
            parameters = _parameters(scale)
            found.append((part, parameters, [p.grad.clone() for p in parameters if p.grad is not None]))
    return found


def _variants(case: Case) -> list[Clip]:
    return [part for part in case.variants(numbers=True) if isinstance(part, Clip)]


def _parameters(scale: float) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((5, 4), (4,), (2, 3, 3, 3), (3,))]
    for p in made[:-1]:
        p.grad = torch.randn(p.shape, generator=generator) * scale
    return made


CHECKS: tuple[Check, ...] = (tells_the_norm_before_clipping, only_shortens, survives_nothing_and_tells_of_nan)
