"""Gradient clipping by layer and by unit (AGC), in few kernels over all parameters, without waiting for the device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from ablate.api import Norms
from ablate_zoo.layers.gradients import gradients, total_norm


@torch.no_grad()
def clip_layers(parameters: Mapping[str, nn.Parameter], max_norm: float) -> Norms:
    """Clip the gradient of each layer by its norm: g_l ← g_l · min(1, max_norm / |g_l|).

    A layer l is what shares a name up to the last dot, such as weight and bias.
    """
    by_layer = [(_layer(name), p.grad) for name, p in parameters.items() if p.grad is not None]
    if not by_layer:
        return _nothing()
    sizes = [len(list(group)) for _, group in groupby(by_layer, key=lambda pair: pair[0])]
    each = torch.stack(torch._foreach_norm([grad for _, grad in by_layer]))  # (tensors,)
    norms = torch.stack(torch._foreach_norm(list(each.split(sizes))))  # (layers,)
    factors = (max_norm / norms).clamp(max=1)  # a norm of 0 gives inf, then 1
    per_tensor = [factor for factor, size in zip(factors.unbind(), sizes, strict=True) for _ in range(size)]
    torch._foreach_mul_([grad for _, grad in by_layer], per_tensor)
    return Norms(torch.linalg.vector_norm(norms), torch.linalg.vector_norm(norms * factors))


@torch.no_grad()
def clip_units(
    parameters: Mapping[str, nn.Parameter], ratio: float, least: float = 1e-3, last_layer: bool = True
) -> Norms:
    """Clip each unit's gradient by the norm of its weights: adaptive gradient clipping (Brock et al. 2021, eq. 3).

    A unit is what makes one output: a row of a matrix, a filter of a convolution (all dimensions but
    the first). Its gradient is shortened to `ratio` times max(|w|, least). What has fewer than two
    dimensions is left alone, and with `last_layer` false the last layer too.
    """
    with_gradient = {name: p for name, p in parameters.items() if p.grad is not None}
    matrices = [name for name, p in with_gradient.items() if p.ndim >= 2]
    spared = None if last_layer or not matrices else _layer(matrices[-1])
    groups: defaultdict[torch.Size, list[nn.Parameter]] = defaultdict(list)
    others: list[Tensor] = []
    for name, p in with_gradient.items():
        if p.ndim < 2 or _layer(name) == spared:
            others += gradients([p])
        else:
            groups[p.shape].append(p)
    before: list[Tensor] = []
    after: list[Tensor] = []
    scaled: list[Tensor] = []
    factors: list[Tensor] = []
    for same_shape in groups.values():  # matrices of one shape at a time: a network has few shapes
        grads = gradients(same_shape)
        norms, bounds = _unit_norms(grads), _unit_norms(same_shape).clamp(min=least) * ratio  # (P, units)
        factor = (bounds / norms).clamp(max=1)
        before.append(norms.flatten())
        after.append((norms * factor).flatten())
        scaled += grads
        factors += factor.reshape(*factor.shape, *[1] * (grads[0].ndim - 1)).unbind()
    if scaled:
        torch._foreach_mul_(scaled, factors)
    if others:
        rest = total_norm(others)[None]
        before.append(rest)
        after.append(rest)
    if not before:
        return _nothing()
    return Norms(torch.linalg.vector_norm(torch.cat(before)), torch.linalg.vector_norm(torch.cat(after)))


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _unit_norms(tensors: Sequence[Tensor]) -> Tensor:
    """Compute the norm of each unit, (P, units), of P tensors of one shape (units, ...)."""
    return torch.linalg.vector_norm(torch.stack(list(tensors)).flatten(2), dim=2)


def _nothing() -> Norms:
    zero = torch.zeros(())
    return Norms(zero, zero)
