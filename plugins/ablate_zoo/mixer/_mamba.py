"""The selective scan and the block around it (Gu & Dao 2023, "Mamba"), in both directions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ablate.api import Layout
from ablate_zoo.layers.attention import zero
from ablate_zoo.mixer._orders import Sequence
from ablate_zoo.mixer._recurrence import run, runs_in_steps, scan
from ablate_zoo.mixer._s4d import in_full_precision

NUMBERS = 2**18  # of the states that are held at a time
SHORTEST, LONGEST = 1e-3, 1e-1  # steps Δ at the start, spread evenly in the logarithm


class SelectiveBlock(nn.Module):
    """Out((y→ + y←)·SiLU(z)), x and z of one linear layer, y a `Direction` of x.

    inner: channels within. bias: of the first layer.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        state: int,
        convolution: int,
        bias: bool = True,
        zero_init: bool = False,
        sequence: Sequence | None = None,
    ) -> None:
        super().__init__()
        self.inward = nn.Linear(width, 2 * inner, bias=bias)
        rank = math.ceil(width / 16)
        self.forth = Direction(inner, state, convolution, rank)
        self.back = Direction(inner, state, convolution, rank)
        self.out = nn.Linear(inner, width)
        self.sequence = Sequence() if sequence is None else sequence
        if zero_init:
            zero(self.out)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x, places = self.sequence(x, layout)
        value, gate = self.inward(x).chunk(2, dim=-1)
        y = self.forth(value) + self.back(value.flip(1)).flip(1)
        return self.sequence.back(self.out(y.to(x.dtype) * F.silu(gate)), places)


class Direction(nn.Module):
    """Causal convolution, SiLU and selective scan along the tokens in one direction."""

    def __init__(self, inner: int, state: int, convolution: int, rank: int) -> None:
        super().__init__()
        self.state, self.rank = state, rank
        self.convolution = nn.Conv1d(inner, inner, convolution, groups=inner, padding=convolution - 1)
        self.selection = nn.Linear(inner, rank + 2 * state, bias=False)  # of Δ, B and C
        self.step = nn.Linear(rank, inner)
        self.log_decay = nn.Parameter(torch.arange(1, state + 1).float().log().expand(inner, state).clone())  # −A
        self.direct = nn.Parameter(torch.ones(inner))
        start = torch.exp(torch.rand(inner) * math.log(LONGEST / SHORTEST) + math.log(SHORTEST))
        with torch.no_grad():
            self.step.bias.copy_(start + torch.log(-torch.expm1(-start)))  # softplus gives `start`

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, E) -> (B, N, E) fp32."""
        x = F.silu(self.convolved(x)).transpose(0, 1).contiguous()  # (N, B, E)
        step, b, c = self.selection(x).split([self.rank, self.state, self.state], dim=-1)
        wide = torch.promote_types(x.dtype, torch.float32)
        with in_full_precision(x):
            x, step, b, c = (part.to(wide) for part in (x, step, b, c))
            step = F.softplus(self.step(step))
            y = selective_scan(step, step * x, -self.log_decay.exp(), b, c) + x * self.direct
        return y.transpose(0, 1)

    def convolved(self, x: Tensor) -> Tensor:
        """Convolve the tokens seen so far, channel by channel: (B, N, E), the same.

        As a convolution of rows of an image whose channels lie last, since a sequence of channels would be laid anew.
        """
        layer = self.convolution
        rows = x.transpose(1, 2)[:, :, None]  # (B, E, 1, N)
        weight, padding = layer.weight[:, :, None], (0, layer.kernel_size[0] - 1)
        y = F.conv2d(rows, weight, layer.bias, padding=padding, groups=layer.groups)
        return y[:, :, 0, : x.shape[1]].transpose(1, 2)


def selective_scan(step: Tensor, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Compute y_t = Σ_s c_ts·h_ts, h_t = exp(step_t·a)·h_{t−1} + x_t·b_t, h_0 = 0, for each channel.

    step, x: (N, B, E); a: (E, S); b, c: (N, B, S). Returns (N, B, E). The cost grows with N alone; of the states,
    N·B·E·S numbers, only a part is held at a time.
    """
    if runs_in_steps(step, x, a, b, c):
        y: Tensor = SelectiveScan.apply(step, x, a, b, c)
        return y
    states = scan((step[..., None] * a).exp(), x[..., None] * b[:, :, None])
    return (states * c[:, :, None]).sum(-1)


class SelectiveScan(torch.autograd.Function):
    """`selective_scan` in N steps; its gradient, for which the states are computed again, can be taken once.

    The states lie as (L, B, S, E), so that what is one number a channel, or one a state, stands in long rows.
    """

    @staticmethod
    def forward(ctx: Any, step: Tensor, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """(N, B, E), (N, B, E), (E, S), (N, B, S), (N, B, S) -> (N, B, E)."""
        step, x, a, b, c = (t.contiguous() for t in (step, x, a.t(), b, c))
        length = max(1, NUMBERS // max(1, x[0].numel() * len(a)))
        y = torch.empty_like(x)
        starts: list[Tensor] = []  # the state before each part
        state = x.new_zeros(x.shape[1], *a.shape)
        decay, states = _room(2, length, state)
        for part in [] if x.is_meta else _parts(len(x), length):
            starts.append(state)
            now = _states(step[part], x[part], a, b[part], state, decay, states)[1]
            y[part] = _over_states(c[part], now)
            state = now[-1].clone()
        ctx.save_for_backward(step, x, a, b, c, *starts)
        ctx.length = length
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """Of step, x, a, b and c."""
        step, x, a, b, c, *starts = ctx.saved_tensors
        of_step, of_x, of_a, of_b, of_c = (torch.zeros_like(t) for t in (step, x, a, b, c))
        later = None  # gradient of the part's last state, by what comes after
        rooms = _room(4, ctx.length, starts[0]) if starts else []
        for part, start in reversed(list(zip(_parts(len(x), ctx.length), starts, strict=False))):
            g, steps, values = grad[part, :, None], step[part, :, None], x[part, :, None]  # (L, B, 1, E)
            decay, states = _states(step[part], x[part], a, b[part], start, *rooms[:2])
            total, product = (room[: len(g)] for room in rooms[2:])
            torch.sum(torch.mul(states, g, out=product), dim=-1, out=of_c[part])
            torch.mul(c[part, ..., None], g, out=total)  # of each state, through all that follow
            if later is not None:
                total[-1] += later
            run((total[0], *decay.unbind()[:0:-1]), total.unbind()[::-1])
            later = decay[0] * total[0]
            of_x[part] = _over_states(b[part], total)
            torch.sum(torch.mul(total, values, out=product), dim=-1, out=of_b[part])
            decay[1:] *= states[:-1]
            decay[0] *= start
            slope = decay.mul_(total)  # of step·a
            torch.sum(torch.mul(slope, a, out=product), dim=-2, out=of_step[part])
            of_a += torch.mul(slope, steps, out=product).sum((0, 1))
        return of_step, of_x, of_a.t(), of_b, of_c


def _parts(length: int, of: int) -> list[slice]:
    """Cut a sequence into parts of `of` tokens, the last one shorter."""
    return [slice(i, min(i + of, length)) for i in range(0, length, of)]


def _room(count: int, length: int, state: Tensor) -> list[Tensor]:
    """Make room for the states of a part, again and again: (L, B, S, E), `count` times."""
    return [state.new_empty(length, *state.shape) for _ in range(count)]


def _over_states(weight: Tensor, states: Tensor) -> Tensor:
    """Σ_s weight_s·states_s: (L, B, S), (L, B, S, E) -> (L, B, E)."""
    return torch.bmm(weight.flatten(0, 1)[:, None], states.flatten(0, 1)).view(*states.shape[:2], -1)


def _states(
    step: Tensor, x: Tensor, a: Tensor, b: Tensor, start: Tensor, decay: Tensor, states: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute exp(step·a) and the states of a part, each (L, B, S, E), in the room that is given for them."""
    decay, states = decay[: len(x)], states[: len(x)]
    torch.mul(step[:, :, None], a, out=decay).exp_()
    torch.mul(b[..., None], x[:, :, None], out=states)
    states[0].addcmul_(decay[0], start)
    run(decay.unbind(), states.unbind())
    return decay, states
