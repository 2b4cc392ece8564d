"""The network that was counted last is there for whoever builds the same next, where counting left it as it was."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum
from operator import is_
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ablate.kinds.backbone import Backbone
from ablate.spec.component import Config, InputSpec

# What cannot be changed, so that to be the same object is to be the same.
_CONSTANT = (
    *(type(None), bool, int, float, complex, str, bytes, type, Enum, Config, InputSpec, BuiltinFunctionType),
    *(torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format),
)
_CONSTANTS: set[type] = set()  # such types that were met
_DICTS = (dict, OrderedDict)
_SPARE: list[tuple[Backbone, InputSpec, nn.Module]] = []  # at most one


class State:
    """What a network holds: of each module its attributes, down to what cannot change.

    known: whether all of that could be looked at. A pass keeps no numbers on the meta device, but it may leave other
    things in a network: tables for the shapes that it has seen, lists, counters.
    """

    def __init__(self, network: nn.Module) -> None:
        self._modules = list(network.modules())
        self._ours = {id(module) for module in self._modules}
        self.known = True
        self._held = self._all()  # kept, so that nothing else takes their places in memory

    def same(self) -> bool:
        """Return whether the network holds the same objects now."""
        if not self.known:
            return False
        now = self._all()
        return self.known and len(now) == len(self._held) and all(map(is_, now, self._held))

    def _all(self) -> list[Any]:
        held: list[Any] = []
        for module in self._modules:
            held += vars(module)
            self._look(vars(module).values(), held)
        return held

    def _look(self, values: Iterable[Any], held: list[Any]) -> None:
        """Add values to what is held, and what is in them."""
        for value in values:
            held.append(value)
            kind = type(value)
            if kind in _CONSTANTS or (not value if kind in _DICTS else kind is nn.Parameter and value.grad is None):
                continue  # as most are
            if isinstance(value, dict):
                held += value
                self._look(value.values(), held)
            elif isinstance(value, _CONSTANT):
                _CONSTANTS.add(type(value))
            elif isinstance(value, list | tuple | set | frozenset):
                self._look(value, held)
            elif isinstance(value, FunctionType):
                try:
                    self._look([cell.cell_contents for cell in value.__closure__ or ()], held)
                except ValueError:  # a name that has no value yet
                    self.known = False
            elif id(value) not in self._ours and not (isinstance(value, Tensor) and value.grad is None):
                self.known = False


def keep(backbone: Backbone, setting: InputSpec, network: nn.Module) -> None:
    """Leave a network that is as it was built; the one before goes."""
    _SPARE[:] = [(backbone, setting, network)]


def take(backbone: Backbone, setting: InputSpec) -> nn.Module | None:
    """Take the one that was left, where it is of this backbone: it is the taker's own."""
    try:
        made_of, shapes, network = _SPARE.pop()
    except IndexError:
        return None
    return network if made_of == backbone and shapes == setting else None
