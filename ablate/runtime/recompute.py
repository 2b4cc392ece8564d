"""Activation checkpointing (gradient checkpointing): activations are computed again in the backward pass, not kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

Scope = Callable[[], AbstractContextManager[Any]]


def outermost(blocks: Iterable[nn.Module]) -> list[nn.Module]:
    """Return the blocks that lie inside no other one: what is computed again within a block needs no second copy."""
    chosen = list(blocks)
    inside = {id(part) for block in chosen for part in block.modules() if part is not block}
    return [block for block in chosen if id(block) not in inside]


@contextlib.contextmanager
def recomputed(blocks: Sequence[nn.Module], scope: Scope) -> Iterator[None]:
    """Apply activation checkpointing to the blocks of a network, for the forward passes within a `with`.

    A block keeps its inputs alone; what it computed from them is computed again in the backward pass, within `scope`
    (autocast). Dropout draws in the second pass what it drew in the first (Chen et al. 2016, section 4;
    torch.utils.checkpoint without re-entry). No block may lie inside another one: see `outermost`.
    """

    def scopes() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), scope()  # the first pass runs in the caller's

    for block in blocks:
        # On the instance, and for this pass alone: a copy or a state dict of the network knows nothing of it.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=scopes)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
