"""Playing operations on the meta device: what an operation gives is remembered, because shapes are computed slowly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


def operation_key(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return what decides the outcome of a dispatched operation on the meta device, as a key of a cache.

    func: the operation (torch.ops overload). None where the outcome must not be remembered: a view shares its
    argument's memory, and an operation in place changes it.
    """
    if func.is_view or func._schema.is_mutable:
        return None
    return (func, *kwargs, *map(_signature, tree_leaves((args, kwargs))))


def _signature(leaf: Any) -> Any:
    """Return a tensor's shape, strides, format and device; anything else as it is, with its type."""
    if isinstance(leaf, Tensor):
        return (leaf.shape, leaf.stride(), leaf.dtype, leaf.device.type)
    return (type(leaf), leaf)
