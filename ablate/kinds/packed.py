"""Kernels of a component's own for a pack, in which several networks of one shape are trained as one (`pack`).

`torch.func.vmap` takes their passes. A component needs to know nothing of it, unless it has a kernel that is faster
than what torch makes of its layers there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def one_by_one(x: Tensor) -> bool:
    """Return whether x is of a pack, and networks are faster one after the other: on the CPU, in fp32."""
    from ablate.runtime import stack

    return stack.one_by_one(x)


def over_stack(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Within a pack, compute a function of the tensors of all networks, stacked: (N, …) each, and so its result.

    It is called once, outside of `vmap`; its gradient is torch's, so it may be an `autograd.Function`.
    """
    from ablate.runtime import stack

    return stack.over_stack(function, *tensors)
