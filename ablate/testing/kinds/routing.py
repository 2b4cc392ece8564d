"""Checks of a routing: all tokens come back, and each block is told what it is given."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ablate.kinds.conditioning import Site
from ablate.kinds.mixer import Layout
from ablate.kinds.routing import MASKED, HidesPatches, Routing
from ablate.testing import modules, networks
from ablate.testing.case import SEED, Case, Check, NotApplicable

WIDTH, BLOCKS, JOINED, GRID = 16, 6, 2, (4, 5)
GRIDS = [(4, 4), (3, 5), (1, 6)]

Block = Callable[[Tensor, Layout], Tensor]


def gives_all_tokens_back(case: Case) -> None:
    """As many tokens as it was given, in training too and on meta; in eval() blocks that add nothing change none."""
    for part in case.variants():
        x, layout = _tokens()
        with torch.device("meta"):
            counted = _build(part).train()(x.to("meta"), Layout(JOINED, GRID), [_nothing] * BLOCKS)
        module = _build(part)
        trained = module.train()(x, layout, [_nothing] * BLOCKS)
        assert trained.shape == counted.shape == x.shape, f"{tuple(trained.shape)} tokens for {tuple(x.shape)}"
        y = module.eval()(x, layout, [_nothing] * BLOCKS)
        assert torch.equal(y, x), "in eval() tokens come back changed, or in another order, though no block changes any"


def asks_every_block_once(case: Case) -> None:
    """In their order, in training and in eval()."""
    module, (x, layout) = _build(case.component), _tokens()
    for training in (True, False):
        asked: list[int] = []
        module.train(training)(x, layout, [_noting(asked, i) for i in range(BLOCKS)])
        assert asked == list(range(BLOCKS)), f"asks {asked} of {BLOCKS} blocks"


def tells_each_block_what_it_is_given(case: Case) -> None:
    """Each layout fits its tokens: as many turned as there are, no grid where not all are there in their order.

    Who hands on others than all tokens says "routed_tokens" in provides().
    """
    for part in case.variants():
        module, says, seen = _build(part), "routed_tokens" in part.provides(), list[tuple[Tensor, Layout]]()

        def look(tokens: Tensor, layout: Layout, seen: list[tuple[Tensor, Layout]] = seen) -> Tensor:
            seen.append((tokens, layout))
            return tokens

        x, whole = _tokens()
        for training in (True, False):
            module.train(training)(x, whole, [look] * BLOCKS)
        for tokens, layout in seen:
            count, turned = tokens.shape[1], None if layout.rotation is None else layout.rotation[0].shape[-2]
            assert layout.joined == JOINED, f"{layout.joined} tokens in front, of {JOINED}"
            assert turned == count, f"{turned} tokens turned of {count}: layout.select(index)"
            fewer = count < x.shape[1]
            named = x.shape[1] if layout.patches is None else JOINED + layout.patches.shape[1]
            assert named == count, f"the layout tells of {named} tokens, of {count}: layout.select(index)"
            assert layout.grid == (None if fewer else GRID), (
                f"a grid of {layout.grid} for {count} of {x.shape[1]} tokens"
            )
            assert says or not fewer, 'blocks get fewer tokens: say "routed_tokens" in provides()'


def tells_which_patches_it_hides(case: Case) -> None:
    """With "masked_patches": of each image some in training, none in eval(); what comes back follows from the others.

    From each of them, and from no number of a hidden one.
    """
    for part in case.variants():
        if MASKED not in part.provides():
            raise NotApplicable("it does not say that it hides patches")
        module, (x, layout) = _build(part).train(), _tokens()
        assert isinstance(module, HidesPatches), "its module has no hidden_patches()"
        y = module(x.requires_grad_(), layout, [_something] * BLOCKS)
        hidden = module.hidden_patches()
        assert hidden is not None, "in training it hides none"
        shape = (len(x), *GRID)
        assert hidden.shape == shape and hidden.dtype == torch.bool, (
            f"{tuple(hidden.shape)} {hidden.dtype}, not {shape}"
        )
        some = hidden.flatten(1).sum(1)
        assert ((some > 0) & (some < GRID[0] * GRID[1])).all(), f"of {GRID} patches it hides {some.tolist()} an image"
        (gradient,) = torch.autograd.grad((y * torch.randn_like(y)).sum(), x)
        reached = gradient[:, JOINED:].abs().sum(2) > 0
        assert torch.equal(reached, ~hidden.flatten(1)), "patches that it calls hidden are seen, or others are not"
        module.eval()(x, layout, [_something] * BLOCKS)
        assert module.hidden_patches() is None, "in eval() it hides patches, or tells those of the pass before"


def is_decided_by_the_seed_alone(case: Case) -> None:
    """In training one seed of torch's global generator gives one routing; in eval() nothing is drawn."""
    module, (x, layout) = _build(case.component), _tokens()

    def run() -> Tensor:
        with torch.no_grad():
            y: Tensor = module(x, layout, [_something] * BLOCKS)
        return y

    for training in (True, False):
        module.train(training)
        torch.manual_seed(SEED)
        first = run()
        again = run()
        torch.manual_seed(SEED)
        assert torch.equal(run(), first), "one seed gives two routings: draw from torch's global generator alone"
        assert training or torch.equal(again, first), "in eval(), the output is not repeatable"


def routes_each_image_alone(case: Case) -> None:
    """In eval(), the output of an image depends on nothing else in the batch."""
    module, (x, layout) = _build(case.component).eval(), _tokens()
    modules.expect_images_alone(lambda tokens: module(tokens, layout, [_something] * BLOCKS), x)


def works_where_it_does_not_refuse(case: Case) -> None:
    """With any number of blocks and any grid of patches that `refuse_at` does not refuse."""
    part, worked = _part(case.component), 0
    for grid in GRIDS:
        for blocks in range(1, 9):
            site = Site(WIDTH, WIDTH, blocks=blocks, resolution=grid)
            if part.refuse_at(site) is None and (module := part.build(site)) is not None:
                x, layout = _tokens(grid)
                for training in (True, False):
                    y = module.train(training)(x, layout, [_something] * blocks)
                    assert y.shape == x.shape and y.isfinite().all(), f"{blocks} blocks, {grid}: {tuple(y.shape)}"
                worked += 1
    assert worked or part.build(Site(WIDTH, WIDTH, blocks=BLOCKS, resolution=GRID)) is None, "refuses everything"


def _part(part: object) -> Routing:
    assert isinstance(part, Routing)
    return part


def _build(part: object) -> nn.Module:
    torch.manual_seed(SEED)
    module = _part(part).build(Site(WIDTH, WIDTH, blocks=BLOCKS, resolution=GRID))
    if module is None:
        raise NotApplicable("all tokens pass through all blocks")
    return module


def _tokens(grid: tuple[int, int] = GRID) -> tuple[Tensor, Layout]:
    count = JOINED + grid[0] * grid[1]
    angles = torch.rand(count, 4)
    return torch.randn(modules.BATCH, count, WIDTH), Layout(JOINED, grid, (angles.cos(), angles.sin()))


def _nothing(tokens: Tensor, layout: Layout) -> Tensor:
    return tokens


def _something(tokens: Tensor, layout: Layout) -> Tensor:
    """A block that mixes: each token gets the mean of those that are there."""
    return tokens + 0.1 * torch.tanh(tokens.mean(dim=1, keepdim=True) - tokens)


def _noting(asked: list[int], number: int) -> Block:
    def block(tokens: Tensor, layout: Layout) -> Tensor:
        asked.append(number)
        return tokens

    return block


CHECKS: tuple[Check, ...] = (
    gives_all_tokens_back,
    asks_every_block_once,
    tells_each_block_what_it_is_given,
    tells_which_patches_it_hides,
    is_decided_by_the_seed_alone,
    routes_each_image_alone,
    works_where_it_does_not_refuse,
    *networks.CHECKS,
)
