"""Playing operations on the meta device: what an operation gives is remembered, because shapes are computed slowly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _len_torch_function_stack
from torch.overrides import TorchFunctionMode, _pop_mode, _push_mode
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")
# What gives a tensor its first numbers, where it has some. By torch's own initialisers, and as tensors' methods.
_DRAWS = frozenset({nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_, Tensor.uniform_, Tensor.normal_})
_DRAWN: set[Any] = set()  # what decides whether a draw is in order, of those that were
MOST_DRAWN = 20_000
_PLAIN = frozenset({int, float, bool, str, type(None), torch.dtype})  # looked for first, as most that are no tensors
_PURE: dict[Any, bool] = {}  # of operations: whether their outcome may be remembered


class MetaMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode for operations on the meta device."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled there, and torch's guard against it takes as long as an operation


class OnDevice(DeviceContext):
    """`with torch.device(...):`, also within another one, whose end older versions of torch refuse (2.9).

    The outer ones are off meanwhile.
    """

    def __enter__(self) -> None:
        modes = _popped()
        self._outer = [mode for mode in modes if isinstance(mode, DeviceContext)]
        _push(mode for mode in modes if mode not in self._outer)
        super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        if self._outer:
            _push([*self._outer, *_popped()])


def _popped() -> list[TorchFunctionMode]:
    """Take all open function modes off, and return them, the outermost first."""
    return [_pop_mode() for _ in range(_len_torch_function_stack())][::-1]  # type: ignore[no-untyped-call]


def _push(modes: Iterable[TorchFunctionMode]) -> None:
    for mode in modes:
        _push_mode(mode)  # type: ignore[no-untyped-call]


class OnMeta(OnDevice):
    """`with torch.device("meta"):`, in which weights are begun once for each shape.

    There are no numbers that could be drawn, yet torch takes each draw apart in Python, which is a third of the time
    that it takes to build a network. The first of its kind is played, so that one that is not in order still raises.
    """

    def __init__(self) -> None:
        super().__init__(META)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in _DRAWS:
            return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        kwargs = kwargs or {}
        tensor = kwargs.get("tensor", args[0] if args else None)
        key = _draw(func, tensor, args[1:], kwargs)
        if key is not None and key in _DRAWN:
            return tensor
        drawn = func(*args, **kwargs)
        if key is not None:
            if len(_DRAWN) >= MOST_DRAWN:
                _DRAWN.clear()
            _DRAWN.add(key)
        return drawn


def _draw(func: Callable[..., Any], tensor: Any, options: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what decides whether a draw is in order; None where it must be played."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.is_meta and tensor.numel()
    if not plain:  # torch warns of empty ones
        return None
    key: list[Any] = [func, torch.is_grad_enabled() and tensor.requires_grad, tensor.is_leaf]
    _sign(tensor, key)
    for value in (*options, *(item for item in kwargs.items() if item[0] != "tensor")):
        if isinstance(value, Tensor | torch.Generator):
            return None
        _sign(value, key)
    return tuple(key)


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
    kind = type(value)
    if kind in _PLAIN:
        key.append((kind, value))
    elif isinstance(value, Tensor):
        key.append((value.shape, value.stride(), value.dtype, value.is_meta or value.device.type))
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
        key.append((kind, value))
