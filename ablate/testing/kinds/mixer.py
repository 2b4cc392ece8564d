"""Checks of a mixer: tokens see each other, those of one image alone, and also where some patches have left."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ablate.kinds.mixer import Layout, Mixer, MixerSite
from ablate.testing import modules, networks
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.networks import close

WIDTH, HEADS = 16, 2
GRIDS = [((4, 4), 0), ((3, 5), 2), ((1, 6), 1)]  # (rows, columns), and tokens in front of the patches


def gives_the_shape_of_the_tokens(case: Case) -> None:
    """(B, L + N, D) -> the same, finite; on any grid, with and without tokens in front, rotated or not, also on meta.

    With each of its switches turned.
    """
    for part in case.variants():
        for grid, joined in GRIDS:
            for turned in (False, True):
                x, layout = _tokens(grid, joined, turned)
                with torch.device("meta"):
                    counted = _build(part, grid)(*_to_meta(x, layout))
                y = modules.live(partial(_build, part, grid))(x, layout)
                assert y.shape == x.shape, f"{tuple(y.shape)} for {tuple(x.shape)}"
                assert counted.shape == x.shape, f"{tuple(counted.shape)} on the meta device for {tuple(x.shape)}"
                assert y.isfinite().all(), "gives numbers that are not finite"


def lets_tokens_see_each_other(case: Case) -> None:
    """What comes out for a patch depends on another one."""
    x, layout = _tokens(*GRIDS[0], True)
    x.requires_grad_()
    y = _live(case)(x, layout)
    y[:, 0].square().sum().backward()
    assert x.grad is not None and x.grad[:, 1:].count_nonzero(), "a patch sees itself alone: that is an mlp"


def mixes_each_image_alone(case: Case) -> None:
    """What comes out for an image depends on that image alone, and is the same twice."""
    x, layout = _tokens(*GRIDS[0], True)
    module = _live(case)
    modules.expect_images_alone(lambda tokens: module(tokens, layout), x)


def works_on_some_of_the_patches(case: Case) -> None:
    """Where other patches have left, the layout says which are there; unless it excludes "routed_tokens"."""
    if "routed_tokens" in case.component.excludes():
        raise NotApplicable("excludes 'routed_tokens'")
    grid, joined = GRIDS[1]
    x, layout = _tokens(grid, joined, True)
    count = grid[0] * grid[1]
    index = torch.stack([torch.randperm(count)[:6].sort().values for _ in x])
    some = torch.cat([x[:, :joined], x[:, joined:].gather(1, index[..., None].expand(-1, -1, WIDTH))], dim=1)
    module = modules.live(lambda: _build(case.component, grid))
    with torch.no_grad():
        y = module(some, layout.select(index))
        assert y.shape == some.shape, f"{tuple(y.shape)} for {tuple(some.shape)}"
        assert y.isfinite().all(), "gives numbers that are not finite"
        alone = module(some[1:2], layout.select(index[1:2]))
        assert close(alone, y[1:2]), "with patches of its own an image depends on the rest of the batch"


def adds_nothing_at_the_start_where_that_is_asked(case: Case) -> None:
    """With `site.zero_init`, its output is zero before training, and a gradient reaches what makes it so."""
    x, layout = _tokens(*GRIDS[0], False)
    module = _build(case.component, GRIDS[0][0], zero_init=True)
    y = module(x, layout)
    assert not y.any(), "its output is not zero"
    (y * torch.randn(y.shape)).sum().backward()
    reached = any(p.grad is not None and p.grad.count_nonzero() for p in module.parameters())
    assert reached, "no gradient reaches a parameter: it would stay at zero"


def is_reached_by_gradients(case: Case) -> None:
    """Every parameter is reached by a finite gradient, and so are the tokens."""
    x, layout = _tokens(*GRIDS[1], True)
    x.requires_grad_()
    module = modules.live(lambda: _build(case.component, GRIDS[1][0]))
    modules.expect_gradients(module(x, layout), [("the tokens", x), *module.named_parameters()])


def keeps_the_state_of_its_module(case: Case) -> None:
    """A state dict gives an equal module."""
    modules.expect_state(lambda: _build(case.component, GRIDS[0][0]), *_tokens(*GRIDS[0], True))


def _build(part: object, grid: tuple[int, int], zero_init: bool = False) -> nn.Module:
    assert isinstance(part, Mixer)
    site = MixerSite(WIDTH, 24, 2, HEADS, block=1, blocks=2, resolution=grid)
    return part.build(replace(site, zero_init=zero_init))


def _live(case: Case) -> nn.Module:
    return modules.live(lambda: _build(case.component, GRIDS[0][0]))


def _tokens(grid: tuple[int, int], joined: int, turned: bool) -> tuple[Tensor, Layout]:
    count = joined + grid[0] * grid[1]
    angles = torch.rand(count, WIDTH // HEADS // 2) * 6
    layout = Layout(joined, grid, (angles.cos(), angles.sin()) if turned else None)
    return torch.randn(modules.BATCH, count, WIDTH), layout


def _to_meta(x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
    rotation = None
    if layout.rotation is not None:
        cos, sin = layout.rotation
        rotation = cos.to("meta"), sin.to("meta")
    return x.to("meta"), layout._replace(rotation=rotation)


CHECKS: tuple[Check, ...] = (
    gives_the_shape_of_the_tokens,
    lets_tokens_see_each_other,
    mixes_each_image_alone,
    works_on_some_of_the_patches,
    adds_nothing_at_the_start_where_that_is_asked,
    is_reached_by_gradients,
    keeps_the_state_of_its_module,
    *networks.CHECKS,
)
