"""Playing a training step on the meta device: what an operation gives is made in the form that it had before.

An outcome itself is not given out again, as in counting a forward pass: it would have a place in memory, and a history,
that is another's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ablate.runtime.meta_device import META, MetaMode, operation_key

# Of what operations give, by their arguments' shapes: candidates have most of them in common.
FORMS: dict[Any, Any] = {}
MOST_FORMS = 20_000


class FormsMode(MetaMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that is told of every operation below autograd, and remembers the forms of outputs."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        key = operation_key(func, args, kwargs)
        if key is None:  # a view, or in place
            out = func(*args, **kwargs)
        elif (form := FORMS.get(key)) is None:
            out = func(*args, **kwargs)
            _remember(key, out, tree_leaves((args, kwargs)))
        else:
            out = form() if callable(form) else _made(form)
        self.saw(func, args, kwargs, out)
        return out

    @abstractmethod
    def saw(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Take notice of an operation and of what it gave."""


def _remember(key: Any, out: Any, arguments: list[Any]) -> None:
    """Remember the form of an operation's outputs, where their memory is their own."""
    places = {leaf.untyped_storage()._cdata for leaf in arguments if isinstance(leaf, Tensor)}
    leaves = tree_leaves(out)
    made = [leaf for leaf in leaves if leaf is not None]  # a norm without weights gives none for their gradients
    fresh = all(isinstance(leaf, Tensor) and leaf.is_meta for leaf in made)
    if fresh and places.isdisjoint(leaf.untyped_storage()._cdata for leaf in made):
        if len(FORMS) >= MOST_FORMS:
            FORMS.clear()
        FORMS[key] = tree_map(_maker, out)


def _made(form: Any) -> Any:
    """Make the outputs of a form of several, as most are a tuple."""
    if type(form) is tuple and all(make is None or callable(make) for make in form):
        return tuple([make and make() for make in form])
    return tree_map(lambda make: make and make(), form)


def _maker(output: Tensor | None) -> Callable[[], Tensor] | None:
    if output is None:
        return None
    return partial(torch.empty_strided, output.shape, output.stride(), dtype=output.dtype, device=META)
