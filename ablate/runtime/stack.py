"""Kernels for a pack: functions of the tensors of several networks, stacked, within `torch.func.vmap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def over_stack(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Within `vmap` over networks, compute a function of the stacks, (N, …) each, whose result is a stack too.

    Its gradient is that of the function, which is called once, and not for every network.
    """
    result: Tensor = _OverStack.apply(function, *tensors)  # type: ignore[no-untyped-call]
    return result


def one_by_one(x: Tensor) -> bool:
    """Return whether x is of a pack, and products of matrices are to be computed for one network after the other.

    So on the CPU in fp32: nothing is launched there, and MKL's products of stacked matrices take a third longer.
    """
    if not torch._C._functorch.is_batchedtensor(x):
        return False
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


class _OverStack(torch.autograd.Function):
    @staticmethod
    def forward(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        raise RuntimeError("there is no stack outside of a pack")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], function: Callable[..., Tensor], *tensors: Tensor
    ) -> tuple[Tensor, int]:
        stacks = [
            tensor.expand(info.batch_size, *tensor.shape) if at is None else tensor.movedim(at, 0)
            for tensor, at in zip(tensors, in_dims[1:], strict=True)
        ]
        return function(*stacks), 0


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute xWᵀ + b of each network: (N, …, D), (N, E, D), (N, E) -> (N, …, E)."""
    rows = x.reshape(len(x), -1, x.shape[-1])
    out: Tensor = _Linear.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], -1)


class _Linear(torch.autograd.Function):
    """Products of one network after the other, written into the stack."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        out = x.new_empty(*x.shape[:-1], weight.shape[1])
        for i, (rows, w, own) in enumerate(zip(x, weight, out, strict=True)):
            if bias is None:
                torch.mm(rows, w.t(), out=own)
            else:
                torch.addmm(bias[i], rows, w.t(), out=own)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad = grad.contiguous()
        dx = torch.empty_like(x) if needs_x else None
        dw = torch.empty_like(weight) if needs_weight else None
        for i, (g, rows, w) in enumerate(zip(grad, x, weight, strict=True)):
            if dx is not None:
                torch.mm(g, w, out=dx[i])
            if dw is not None:
                torch.mm(g.t(), rows, out=dw[i])
        return dx, dw, grad.sum(1) if needs_bias else None
