"""Activation checkpointing: a block's inner activations are not kept, but computed again in the backward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

Scope = Callable[[], AbstractContextManager[Any]]


def blocks(network: nn.Module) -> list[nn.Module]:
    """What a network repeats: the members of its nn.ModuleLists, the outermost ones, each once.

    A member without a forward pass of its own (another list, a dict) is looked into.
    """
    found: dict[int, nn.Module] = {}

    def look(module: nn.Module, repeats: bool) -> None:
        for child in module.children():
            if repeats and type(child).forward is not nn.Module.forward:
                found.setdefault(id(child), child)
            else:
                look(child, repeats or isinstance(child, nn.ModuleList))

    look(network, False)
    return list(found.values())


@contextlib.contextmanager
def recomputed(chosen: Sequence[nn.Module], scope: Scope) -> Iterator[None]:
    """Within it, the blocks keep their inputs alone; `scope` is what their second pass runs in.

    Dropout draws in the second pass what it drew in the first (Chen et al. 2016, section 4;
    torch.utils.checkpoint without re-entry).
    """

    def scopes() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), scope()  # the first pass runs in the caller's

    for block in chosen:
        # On the instance, and for this pass alone: a copy or a state dict of the network knows nothing of it.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=scopes)
    try:
        yield
    finally:
        for block in chosen:
            del block.forward
