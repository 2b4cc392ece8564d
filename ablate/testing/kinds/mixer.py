"""Checks of a mixer: tokens see each other, those of one image alone, and also where some patches have left."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ablate.kinds.mixer import Carry, Layout, Mixer, MixerSite, Projects
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


def hands_on_what_is_of_each_token(case: Case) -> None:
    """What a block leaves for a later one is of each token, and serves there, whichever patches either of them sees.

    A mixer that leaves something requires "carry". An image depends on itself alone, and gradients reach both blocks.
    """
    leaves = False
    for part in case.variants():
        grid, joined = GRIDS[1]
        blocks = [modules.live(partial(_build, part, grid, block=i)) for i in range(2)]
        x, layout = _tokens(grid, joined, True)
        left: dict[str, Tensor] = {}
        blocks[0](x, layout._replace(left=left))
        if not left:
            continue
        leaves = True
        assert "carry" in part.requires(), f"leaves {', '.join(left)}: say that it needs a network with 'carry'"
        routed = (False,) if "routed_tokens" in part.excludes() else (False, True)
        for some in [(a, b) for a in routed for b in routed]:  # whether either of the two sees some patches alone
            through = partial(_two_blocks, blocks, layout, some)
            modules.expect_images_alone(through, x)
            y = through(x)
            assert y.isfinite().all(), "gives numbers that are not finite"
            y.square().sum().backward()  # type: ignore[no-untyped-call]
        named = [(f"block {i}: {name}", p) for i in range(2) for name, p in blocks[i].named_parameters()]
        lost = [name for name, p in named if p.grad is None or not p.grad.count_nonzero()]
        assert not lost, f"no gradient reaches {', '.join(lost)}"
    if not leaves:
        raise NotApplicable("it leaves nothing for later blocks")


def reads_what_it_says(case: Case) -> None:
    """Another number of heads, no biases, a query-key norm, a rotation: each changes it where it is in `reads`, or not.

    A study that sets what its mixer does not read is told so.
    """
    mixer, site = case.component, _site(GRIDS[0][0])
    assert isinstance(mixer, Mixer)
    x, layout = _tokens(*GRIDS[0], True)
    still = layout._replace(rotation=None)
    others = {
        "heads": (replace(site, heads=1), still),
        "bias": (replace(site, bias=False), still),
        "query_key_norm": (replace(site, query_key_norm=_Doubled), still),
        "rotation": (site, layout),
    }
    with torch.no_grad():
        as_it_is = modules.live(lambda: mixer.build(site))(x, still)
        for word, (other, told) in others.items():
            reads = not torch.equal(modules.live(partial(mixer.build, other))(x, told), as_it_is)
            message = f"{'reads' if reads else 'does not read'} {word!r}: `reads` has to say so"
            assert reads == (word in mixer.reads), message


def tells_its_projections_where_it_says_so(case: Case) -> None:
    """With "projections", its module tells its matrices of queries, keys, values and output: without the last it adds
    nothing, nor without values, but for biases.
    """
    module = _build(case.component, GRIDS[0][0])
    if "projections" not in case.component.provides():
        assert not isinstance(module, Projects), "has `projections`: say so in provides()"
        raise NotApplicable("does not say that it has projections")
    assert isinstance(module, Projects), "its module has no `projections`"
    told = module.projections()
    assert set(told) == {"query", "key", "value", "output"}, f"tells {', '.join(sorted(told))}"
    x, layout = _tokens(*GRIDS[0], True)
    for name in ("value", "output"):
        module = _live(case)
        assert isinstance(module, Projects)
        with torch.no_grad():
            for part, p in module.named_parameters():
                if part.endswith("bias"):
                    p.zero_()
            assert module(x, layout).count_nonzero(), "gives nothing"
            module.projections()[name].zero_()
            assert not module(x, layout).count_nonzero(), f"without its matrix of the {name} it gives something"


class _Doubled(nn.Module):
    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Twice the queries."""
        return 2 * q, k


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


def _two_blocks(blocks: list[nn.Module], layout: Layout, some: tuple[bool, bool], x: Tensor) -> Tensor:
    """Take the tokens through two blocks of one pass. some: whether a block sees but some of the patches."""
    carry = Carry(x.shape[1] - layout.joined)
    for i, block in enumerate(blocks):
        seen, told = torch.arange(x.shape[1]), layout
        if some[i]:
            patches = torch.arange(i, x.shape[1] - layout.joined, 2)  # of each second one
            seen = torch.cat([seen[: layout.joined], layout.joined + patches])
            told = layout.select(patches.expand(len(x), -1))
        x = x.index_add(1, seen, carry.through(block, x[:, seen], told))
    return x


def _build(part: object, grid: tuple[int, int], zero_init: bool = False, block: int = 1) -> nn.Module:
    assert isinstance(part, Mixer)
    return part.build(replace(_site(grid), zero_init=zero_init, block=block))


def _site(grid: tuple[int, int]) -> MixerSite:
    return MixerSite(WIDTH, 24, 2, HEADS, block=1, blocks=2, resolution=grid)


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
    hands_on_what_is_of_each_token,
    reads_what_it_says,
    tells_its_projections_where_it_says_so,
    adds_nothing_at_the_start_where_that_is_asked,
    is_reached_by_gradients,
    keeps_the_state_of_its_module,
    *networks.CHECKS,
)
