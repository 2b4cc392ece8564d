"""Gated linear recurrence over a sequence of tokens, in both directions; and linear recurrences, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

from ablate.api import Layout
from ablate_zoo.layers.attention import zero
from ablate_zoo.mixer._orders import Sequence


class Recurrence(nn.Module):
    """W(h→ + h←): h_t = (1 − z_t)·h_{t−1} + z_t·v_t, one gate z for each direction, in fp32."""

    def __init__(
        self, width: int, bias: bool = True, zero_init: bool = False, sequence: Sequence | None = None
    ) -> None:
        super().__init__()
        self.inward = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width)
        self.sequence = Sequence() if sequence is None else sequence
        if zero_init:
            zero(self.out)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x, places = self.sequence(x, layout)
        forth, back, value = self.inward(x).float().transpose(0, 1).chunk(3, dim=-1)  # each (N, B, D)
        gates = torch.cat([forth, back.flip(0)], dim=-1).sigmoid()
        states = recurrence(1 - gates, gates * torch.cat([value, value.flip(0)], dim=-1))
        ahead, behind = states.chunk(2, dim=-1)
        return self.sequence.back(self.out((ahead + behind.flip(0)).transpose(0, 1).to(x.dtype)), places)


def recurrence(decay: Tensor, value: Tensor) -> Tensor:
    """Compute h_t = decay_t·h_{t−1} + value_t, h_0 = 0, over the first dimension; all (N, ...), alike in shape.

    One multiplication and one sum for each number, forwards and backwards: the cost grows with N alone.
    """
    if runs_in_steps(decay, value):
        states: Tensor = Steps.apply(decay, value)
        return states
    return scan(decay, value)


def runs_in_steps(*tensors: Tensor) -> bool:
    """Return whether the function with a gradient of its own may be used: not for dual numbers, nor while compiling."""
    if torch.compiler.is_compiling():
        return False
    return all(tensor.is_meta or forward_ad.unpack_dual(tensor).tangent is None for tensor in tensors)


class Steps(torch.autograd.Function):
    """The recurrence in N steps in place; its gradient, which is the same recurrence backwards, can be taken once."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, value: Tensor) -> Tensor:
        """(N, ...), (N, ...) -> (N, ...)."""
        states = value.clone(memory_format=torch.contiguous_format)
        if not states.is_meta:
            run(decay.unbind(), states.unbind())
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Of decay and value."""
        decay, states = ctx.saved_tensors
        total = grad.clone(memory_format=torch.contiguous_format)  # of each state, through all that follow
        if not total.is_meta:
            run((total[0], *decay.unbind()[:0:-1]), total.unbind()[::-1])
        of_decay = torch.zeros_like(total)
        torch.mul(total[1:], states[:-1], out=of_decay[1:])
        return of_decay, total


def run(decay: Iterable[Tensor], states: Iterable[Tensor]) -> None:
    """Add to each state, in place, the one before it times its own decay; the first decay is not read."""
    before: Tensor | None = None
    for a, state in zip(decay, states, strict=True):
        if before is not None:
            state.addcmul_(a, before)
        before = state


def scan(decay: Tensor, value: Tensor) -> Tensor:
    """Compute the same in log₂ N steps of whole tensors (Hillis & Steele 1986), with any derivative."""
    reach = 1  # h_t is right as far back as this
    while reach < len(value):
        value = torch.cat([value[:reach], value[reach:] + decay[reach:] * value[:-reach]])
        decay = torch.cat([decay[:reach], decay[reach:] * decay[:-reach]])
        reach *= 2
    return value
