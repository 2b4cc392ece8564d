"""The modules of a composed network: shapes, parameters, Gflops, and where each is written."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ablate.candidates.flops import Counter, example_inputs
from ablate.spec.component import InputSpec

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One module of a network, with all that is below it."""

    path: str  # of attributes, as in the state dict: `blocks.0.attention`; "" is the network itself
    type: str  # class
    inputs: tuple[Shape, ...]  # of the tensors it was given, batch 1
    outputs: tuple[Shape, ...]
    params: int  # trainable numbers
    gflops: float  # 1e9 multiply-accumulates of all its calls, normalisation layers included
    calls: int  # in one forward pass; 0: its parameters are used without calling it, or it is not used
    file: str  # where its class is written
    line: int
    equal: int = 1  # how many neighbours in a row are the same, this one included

    @property
    def depth(self) -> int:
        """How many modules it is inside of."""
        return self.path.count(".") + 1 if self.path else 0


def layers(network: nn.Module, setting: InputSpec) -> list[Layer]:
    """Return every module of a network on the meta device, in the order in which they were registered.

    The costs are those of one forward pass of one image, counted as `ablate.cost` counts them; the first row is the
    network itself. A module's numbers contain those of the modules below it. Nothing is allocated.
    """
    counter = Counter()
    seen: dict[nn.Module, _Calls] = {module: _Calls() for module in network.modules()}
    hooks = [handle for module, calls in seen.items() for handle in calls.watch(module, counter)]
    training = network.training
    network.eval()
    try:
        with torch.inference_mode(), counter:
            network(*example_inputs(setting))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return [_layer(path, module, seen) for path, module in network.named_modules()]


def fold(rows: Sequence[Layer]) -> list[Layer]:
    """Return the rows with equal neighbours as one: twelve equal blocks are the first of them, and `equal` is 12.

    Neighbours are equal where all that is told of them and of what is below them is the same but for their paths.
    """
    return list(_fold_repeated(list(rows)))


def _fold_repeated(rows: list[Layer]) -> Iterator[Layer]:
    if not rows:
        return
    head, rest = rows[0], rows[1:]
    yield head
    children = _split(rest)
    i = 0
    while i < len(children):
        j = i + 1
        while j < len(children) and _equal_but_for_paths(children[i], children[j]):
            j += 1
        first = [replace(children[i][0], equal=j - i), *children[i][1:]]
        yield from _fold_repeated(first)
        i = j


def _split(rows: Sequence[Layer]) -> list[list[Layer]]:
    """Split the rows into one list for each module of the uppermost depth, with what is below it."""
    groups: list[list[Layer]] = []
    for row in rows:
        if not groups or row.depth <= groups[0][0].depth:
            groups.append([])
        groups[-1].append(row)
    return groups


def _equal_but_for_paths(one: Sequence[Layer], other: Sequence[Layer]) -> bool:
    def without_paths(rows: Sequence[Layer]) -> list[Any]:
        start = len(rows[0].path)
        return [(row.path[start:], replace(row, path="")) for row in rows]

    return without_paths(one) == without_paths(other)


class _Calls:
    """What hooks note of one module."""

    def __init__(self) -> None:
        self.inputs: tuple[Shape, ...] = ()
        self.outputs: tuple[Shape, ...] = ()
        self.count = 0
        self.work = 0  # multiply-accumulates, and elements of normalisation layers
        self._before: list[int] = []

    def watch(self, module: nn.Module, counter: Counter) -> Iterator[Any]:
        """Register the hooks."""

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            self.inputs = _shapes((args, kwargs))
            self._before.append(counter.work)

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self.outputs = _shapes(output)
            self.count += 1
            self.work += counter.work - self._before.pop()

        yield module.register_forward_pre_hook(before, with_kwargs=True)
        yield module.register_forward_hook(after)


def _shapes(values: Any) -> tuple[Shape, ...]:
    return tuple(tuple(leaf.shape) for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _layer(path: str, module: nn.Module, seen: Mapping[nn.Module, _Calls]) -> Layer:
    params = sum(p.numel() for p in module.parameters() if p.requires_grad)
    cls, calls = type(module), seen[module]
    file, line = _written(cls)
    work = _work(module, seen) / 1e9
    return Layer(path, cls.__name__, calls.inputs, calls.outputs, params, work, calls.count, file, line)


def _work(module: nn.Module, seen: Mapping[nn.Module, _Calls]) -> int:
    """Return what a module took; of one that is not called itself, such as a list of blocks, what its parts took."""
    calls = seen[module]
    return calls.work if calls.count else sum(_work(part, seen) for part in module.children())


def _written(cls: type) -> tuple[str, int]:
    """Return file and line of a class; the file below the folder that its package is imported from."""
    try:
        file, line = Path(inspect.getfile(cls)), inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):  # made at run time
        return cls.__module__, 0
    parts = cls.__module__.split(".")
    return (str(Path(*file.parts[-len(parts) :])) if len(parts) > 1 else str(file)), line
