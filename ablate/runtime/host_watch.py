"""Finds what keeps a training step from being captured: reads of numbers on the host, and numbers that the host makes.

A captured step is replayed without Python. A part that waits for a number of the device cannot be captured at all; one
whose Python gives operators another number in each step would silently be given the first one again.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ablate.runtime.isolation import own_code
from ablate.spec.component import Component

# By the names of a tensor's methods: on the CPU these reach no operator, and on a GPU they wait for it.
READS = {
    **dict.fromkeys(("cpu", "numpy", "__array__"), "copies numbers to the host"),
    **dict.fromkeys(("item", "tolist", "__bool__", "__float__", "__int__", "__index__"), "reads a number on the host"),
}
READS_NUMBER, READS_SHAPE = "reads a number on the host", "makes a tensor whose size the host must know"
MOVES = "computes with another number of the host's in each step"
PROGRESS = "computes with the share of the training that is done, another number of the host's in each step"
DRAWS = "draws on the host"
ENDS = tuple(str(Path(folder, "captured.py")) for folder in ("training", "evaluation"))  # who asks
Place = tuple[str, str]  # what is done, and where


class HostWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks on while a part of a step runs; `found` is the first thing that cannot be captured, None where all can.

    before: the operators of an earlier run of the same part, as its watch noted them in `operators`.
    """

    def __init__(self, device: torch.device, before: list[Any] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self._before = before
        self._methods = _Methods(self.note)
        self.operators: list[Any] = []
        self.found: Place | None = None

    def note(self, what: str) -> None:
        """Note what cannot be captured, and who does it."""
        if self.found is None:
            self.found = what, _place()

    def note_progress(self) -> None:
        """Note that a part reads how far the training is."""
        self.note(PROGRESS)

    def __enter__(self) -> Any:
        self._methods.__enter__()  # type: ignore[no-untyped-call]
        self._host = _host_generators()
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._methods.__exit__(*raised)  # type: ignore[no-untyped-call]
        if self.found is None and _host_generators() != self._host:
            self.found = DRAWS, ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.data_dependent_output in func.tags:
            self.note(READS_NUMBER)
        elif _indexes_by_mask(func, args) or (
            torch.Tag.dynamic_output_shape in func.tags and func.overloadpacket is not torch.ops.aten.index
        ):
            self.note(READS_SHAPE)
        own = (str(func), [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, int | float)])
        if self.found is None and _host_generators() != self._host:
            self.note(DRAWS)
        place = len(self.operators)
        self.operators.append(own)
        if self._before is not None and (place >= len(self._before) or repr(self._before[place]) != repr(own)):
            self.note(MOVES)
        output = func(*args, **kwargs)
        if (
            self._device.type != "cpu"
            and torch.Tag.nondeterministic_seeded in func.tags
            and any(isinstance(leaf, Tensor) and leaf.device.type == "cpu" for leaf in tree_leaves(output))
        ):
            self.note(DRAWS)
        return output


class _Methods(TorchFunctionMode):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if (what := READS.get(getattr(func, "__name__", ""))) is not None:
            self._note(what)
        return func(*args, **(kwargs or {}))


def culprit(place: Place, parts: Iterable[Component]) -> str:
    """Say what was found of whom: the component whose file it is, or else whose folder, and the line."""
    what, where = place
    if not where:
        return f"a part of it {what}"
    file = where.partition(":")[0]
    owners = [(getattr(sys.modules.get(type(part).__module__), "__file__", "") or "", part) for part in parts]
    own = [part for path, part in owners if path == file]
    beside = [part for path, part in owners if path.rpartition("/")[0] == file.rpartition("/")[0]]
    who = next((f"{part.kind} {part.name!r}" for part in (*own, *beside)), "a part of it")
    return f"{who} {what} ({where})"


def _place() -> str:
    """Return the innermost line of a plugin's own code that runs now: `file:line, in function`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not own_code(frame.f_code.co_filename):
        if frame.f_code.co_filename.endswith(ENDS):  # who asks: nobody of the step
            return ""
        frame = frame.f_back
    if frame is None:
        return ""
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_qualname}"


def _host_generators() -> tuple[Any, ...]:
    """Return the states of the generators of Python and numpy, as something that compares."""
    numpys = np.random.get_state(legacy=False)
    inner = numpys["state"]
    return random.getstate(), inner["key"].tobytes(), inner["pos"], numpys["has_gauss"], numpys["gauss"]


def _indexes_by_mask(func: Any, args: tuple[Any, ...]) -> bool:
    if func.overloadpacket not in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_):
        return False
    return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in args[1])
