"""MLPs of a transformer block: GELU and SwiGLU; and the GELU MLP in one pass over the rows, for the CPU in fp32.

That one is exact, and faster than layer by layer: torch's GELU in the tanh form takes about as long on a CPU as
one of the two matrix products, and as long again for its gradient. With tanh(u) = 2σ(2u) − 1 it is x·σ(2u),
u = √(2/π)(x + 0.044715x³), and a sigmoid is much cheaper than a tanh. The slope is computed with it, and kept in
the place of x, so that the backward pass is a product. The rows are taken in parts that stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ablate.api import one_by_one, over_stack

ROWS = 1024  # at a time
LINEAR = 2 * math.sqrt(2 / math.pi)  # 2u = x·(LINEAR + CUBIC·x²)
CUBIC = 0.044715 * LINEAR


def gelu(x: Tensor, out: Tensor, gate: Tensor, slope: bool) -> None:
    """Compute GELU of x in its tanh form into `out`, and with `slope` its slope into x itself; `gate` is room for σ."""
    linear = x.new_full((), LINEAR)
    torch.addcmul(linear, x, x, value=CUBIC, out=gate).mul_(x).sigmoid_()
    torch.mul(x, gate, out=out)
    if slope:  # σ + x·σ·(1 − σ)·(2u)'
        torch.addcmul(linear, x, x, value=3 * CUBIC, out=x).mul_(out)
        x.addcmul_(x, gate, value=-1).add_(gate)


def fast_path_applies(x: Tensor, weight: Tensor) -> bool:
    """Return whether x and the weights are in fp32 on the CPU, and are meant to stay so; and x is no dual number.

    Within `torch.func.vmap` only where that takes the passes of several networks as one.
    """
    if torch._C._are_functorch_transforms_active():
        return one_by_one(x)
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    plain = plain and forward_ad.unpack_dual(x).tangent is None
    return plain and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


def gelu_mlp(x: Tensor, up: nn.Linear, down: nn.Linear) -> Tensor:
    """Compute down(GELU(up(x))), GELU in its tanh form: (..., D) -> (..., E)."""
    rows = x.reshape(-1, x.shape[-1])
    tensors = rows, up.weight, up.bias, down.weight, down.bias
    out: Tensor = over_stack(GeluMLP.apply, *tensors) if one_by_one(x) else GeluMLP.apply(*tensors)
    return out.view(*x.shape[:-1], -1)


class GeluMLP(torch.autograd.Function):
    """W₂·GELU(W₁x + b₁) + b₂ over rows (M, D); its gradient can be taken once.

    Of a stack of networks, (N, M, D) and so on, for one after the other.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        """(M, D), (H, D), (H,), (E, H), (E,) -> (M, E)."""
        train = any(ctx.needs_input_grad)
        *stack, rows, _ = x.shape
        hidden = w1.shape[-2]
        stored = rows if train else min(ROWS, rows)  # for the backward pass
        out, gate = x.new_empty(*stack, rows, w2.shape[-2]), x.new_empty(min(ROWS, rows), hidden)
        slope, act = x.new_empty(*stack, stored, hidden), x.new_empty(*stack, stored, hidden)
        for own in _networks(x, w1, b1, w2, b2, out, slope, act):
            _forward(gate, train, *own)
        ctx.save_for_backward(x, w1, w2, act, slope)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of x, w1, b1, w2, b2."""
        x, w1, w2, act, slope = ctx.saved_tensors
        grad = grad.contiguous()
        dx = torch.empty_like(x)
        dw1, db1, dw2 = torch.zeros_like(w1), w1.new_zeros(w1.shape[:-1]), torch.zeros_like(w2)
        room = x.new_empty(min(ROWS, x.shape[-2]), w1.shape[-2])
        for own in _networks(grad, x, w1, w2, act, slope, dx, dw1, db1, dw2):
            _backward(room, *own)
        return dx, dw1, db1, dw2, grad.sum(-2)


def _networks(x: Tensor, *tensors: Tensor) -> Iterable[Any]:
    """Return each network's own of a stack; of one network the tensors themselves."""
    return zip(x, *tensors, strict=True) if x.dim() == 3 else [(x, *tensors)]


def _forward(
    gate: Tensor,
    train: bool,
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    out: Tensor,
    slope: Tensor,
    act: Tensor,
) -> None:
    for i in range(0, len(x), ROWS):
        part = slice(i, i + ROWS)
        n = len(x[part])
        h, value = (slope[part], act[part]) if train else (slope[:n], act[:n])
        torch.addmm(b1, x[part], w1.t(), out=h)
        gelu(h, value, gate[:n], train)
        torch.addmm(b2, value, w2.t(), out=out[part])


def _backward(
    room: Tensor,
    grad: Tensor,
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    act: Tensor,
    slope: Tensor,
    dx: Tensor,
    dw1: Tensor,
    db1: Tensor,
    dw2: Tensor,
) -> None:
    for i in range(0, len(x), ROWS):
        part = slice(i, i + ROWS)
        g = grad[part]
        dw2.addmm_(g.t(), act[part])
        inner = torch.mm(g, w2, out=room[: len(g)]).mul_(slope[part])
        dw1.addmm_(inner.t(), x[part])
        db1 += inner.sum(0)
        torch.mm(inner, w1, out=dx[part])


class MLP(nn.Module):
    """MLP (feed-forward network): linear, GELU (Hendrycks & Gimpel 2016), linear.

    approximate: "tanh", as in DiT, or "none".
    """

    def __init__(self, width: int, hidden: int, approximate: str = "tanh") -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.approximate = approximate
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        if self.approximate == "tanh" and fast_path_applies(x, self.up.weight):
            return gelu_mlp(x, self.up, self.down)
        return self.down(F.gelu(self.up(x), approximate=self.approximate))


class GatedMLP(nn.Module):
    """Gated linear unit: (a(xW) ⊙ xV)·W₂ (Shazeer 2020, eq. 6), with as many parameters as an MLP of that hidden width.

    Three matrices in the place of two: the hidden width is 2/3 of it, rounded to the nearest that fits. activation: a.
    """

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        inner = max(1, round(hidden * (2 * width + 1) / (3 * width + 2)))
        self.up = nn.Linear(width, 2 * inner)
        self.down = nn.Linear(inner, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(self.activation(gate) * value)


class SwiGLU(GatedMLP):
    """SwiGLU: the gate passes through a SiLU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden, F.silu)
