"""Playing operations on the meta device: what an operation gives is remembered, because shapes are computed slowly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_PURE: dict[Any, bool] = {}  # of operations: whether their outcome may be remembered


def operation_key(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return what decides the outcome of a dispatched operation on the meta device, as a key of a cache.

    func: the operation (torch.ops overload). None where the outcome must not be remembered: a view shares its
    argument's memory, and an operation in place changes it.
    """
    pure = _PURE.get(func)
    if pure is None:
        pure = _PURE[func] = not (func.is_view or func._schema.is_mutable)
    if not pure:
        return None
    key: list[Any] = [func, *kwargs]
    for value in args:
        _sign(value, key)
    for value in kwargs.values():
        _sign(value, key)
    return tuple(key)


def _sign(value: Any, key: list[Any]) -> None:
    """Add to a key a tensor's shape, strides, format and device; anything else as it is, with its type.

    Thousands of operations a second pass here: torch's own walk through trees takes five times as long.
    """
    if isinstance(value, Tensor):
        key.append((value.shape, value.stride(), value.dtype, value.device.type))
    elif isinstance(value, list | tuple):
        key.append(len(value))
        for item in value:
            _sign(item, key)
    elif isinstance(value, Mapping):
        key.append(len(value))
        for name, item in value.items():
            key.append(name)
            _sign(item, key)
    else:
        key.append((type(value), value))
