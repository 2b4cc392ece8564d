"""Checks of a conditioning: its modules for themselves, and a network that it conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ablate.kinds.conditioning import Conditioning, Context, Modulation, Site
from ablate.testing import modules, networks
from ablate.testing.case import Case, Check, NotApplicable

SITE = Site(width=16, embedding=24, branches=2, heads=2)
BATCH, WORDS, TOKENS = 3, 2, 5


def offers_a_place(case: Case) -> None:
    """Through at least one of its places a condition enters."""
    part = _part(case)
    places = (part.sequence(SITE), part.modulation(SITE), part.attention(SITE), part.head(SITE))
    assert any(place is not None for place in places), "sequence, modulation, attention and head are all None"


def gives_the_shapes(case: Case) -> None:
    """Its modules give what their places ask for, also where the context is not as wide as the features."""
    part, context = _part(case), _context()
    for site in (SITE, Site(width=24, embedding=24, branches=1, heads=2)):
        sequence, modulation = part.sequence(site), part.modulation(site)
        attention, head = part.attention(site), part.head(site)
        if sequence is not None:
            tokens = sequence(context)
            assert tokens.ndim == 3 and tokens.shape[::2] == (BATCH, site.width), f"sequence: {tuple(tokens.shape)}"
        if modulation is not None:
            _is_modulation("modulation", modulation(context), site.branches, site)
        if head is not None:
            _is_modulation("head", head(context), 1, site)
        if attention is not None:
            x = torch.randn(BATCH, TOKENS, site.width)
            assert attention(x, context).shape == x.shape, f"attention: {tuple(attention(x, context).shape)}"


def is_the_identity_where_it_says_so(case: Case) -> None:
    """With "identity_at_start", a block adds nothing before training: every gate is zero, and so is attention."""
    part = _part(case)
    if "identity_at_start" not in part.provides():
        raise NotApplicable("does not provide 'identity_at_start'")
    modulation, attention = part.modulation(SITE), part.attention(SITE)
    assert modulation is not None, "without a gate a branch adds what it likes"
    for branch, how in enumerate(modulation(_context())):
        assert how.gate is not None and not how.gate.any(), f"the gate of branch {branch} is not zero at the start"
    if attention is not None:
        assert not attention(torch.randn(BATCH, TOKENS, SITE.width), _context()).any(), "attention is not zero"


def reads_heads_only_where_it_says_so(case: Case) -> None:
    """With `reads_heads` another number of heads gives another network; without, the same: a study is told so."""
    part, context, x = _part(case), _context(), torch.randn(BATCH, TOKENS, SITE.width)

    def outputs(heads: int) -> list[Tensor]:
        site, given = replace(SITE, heads=heads), []
        places = ((part.sequence, ()), (part.modulation, ()), (part.attention, (x,)), (part.head, ()))
        for build, before in places:
            if build(site) is not None:
                given += tree_leaves(modules.live(partial(_built, build, site))(*before, context))
        return [one for one in given if isinstance(one, Tensor)]

    with torch.no_grad():
        reads = not all(map(torch.equal, outputs(1), outputs(2)))
    says = type(part).reads_heads
    assert reads == says, f"says reads_heads = {says}, and {'reads' if reads else 'does not read'} them"


def _built(build: Callable[[Site], nn.Module | None], site: Site) -> nn.Module:
    module = build(site)
    assert module is not None
    return module


def _part(case: Case) -> Conditioning:
    part = case.component
    assert isinstance(part, Conditioning)
    return part


def _context() -> Context:
    embedding, tokens = torch.randn(BATCH, SITE.embedding), torch.randn(BATCH, WORDS, SITE.embedding)
    return Context(embedding, tokens, torch.rand(BATCH) * 999)


def _is_modulation(place: str, modulation: object, branches: int, site: Site) -> None:
    parts = modulation if isinstance(modulation, tuple) else ()
    assert len(parts) == branches, f"{place}: {len(parts)} for {branches} branches"
    for how in parts:
        assert isinstance(how, Modulation), f"{place} gives {type(how).__name__}, not Modulation"
        for name, value in how._asdict().items():
            shape = None if value is None else tuple(value.shape)
            assert shape in (None, (BATCH, site.width)), f"{place}: {name} is {shape}, not {(BATCH, site.width)}"


CHECKS: tuple[Check, ...] = (
    offers_a_place,
    gives_the_shapes,
    is_the_identity_where_it_says_so,
    reads_heads_only_where_it_says_so,
    *networks.CHECKS,
)
