"""Checks of positional embeddings: every place is told from every other, by addition or by rotation."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ablate.kinds.positions import Positions
from ablate.testing import modules, networks
from ablate.testing.case import Case, Check, NotApplicable

WIDTH = 16
GRIDS = [(4, 4), (3, 5), (1, 6)]
HEADS = range(1, 17)  # widths of a head


def tells_places_apart(case: Case) -> None:
    """No two places of a grid have the same positions: vector and angles together."""
    for part in case.variants():
        for grid in GRIDS:
            places = _places(part, grid)
            distinct = len(torch.unique(places, dim=0))
            assert distinct == len(places), f"{distinct} different places of {len(places)} on a grid of {grid}"


def adds_to_each_image_alone(case: Case) -> None:
    """What is added keeps the shape, also on meta, and depends on nothing else in the batch."""
    part = _part(case.component)
    for grid in GRIDS:
        if part.build(*grid, WIDTH) is None:
            raise NotApplicable("adds nothing to the tokens")
        x = torch.randn(modules.BATCH, grid[0] * grid[1], WIDTH)
        with torch.device("meta"):
            counted = _built(part, grid)(x.to("meta"))
        module = modules.live(partial(_built, part, grid))
        assert module(x).shape == counted.shape == x.shape, f"{tuple(module(x).shape)} for {tuple(x.shape)}"
        modules.expect_images_alone(module, x)


def turns_by_angles(case: Case) -> None:
    """Its rotation is cosines and sines of (rows·columns, d/2), for every width d of a head that it does not refuse."""
    part = _part(case.component)
    widths = [width for width in HEADS if part.refuse_heads(width) is None]
    if all(part.rotation(*GRIDS[0], width) is None for width in widths):
        raise NotApplicable("rotates nothing")
    for width in widths:
        for device in ("cpu", "meta"):
            with torch.device(device):
                module = part.rotation(*GRIDS[1], width)
            assert module is not None, f"turns heads of some widths, and not of {width}"
            cos, sin = module()
            expected = (GRIDS[1][0] * GRIDS[1][1], width // 2)
            assert cos.shape == sin.shape == expected, f"{tuple(cos.shape)} for heads of {width}, not {expected}"
            length = cos.square() + sin.square()
            assert cos.is_meta or torch.allclose(length, torch.ones_like(length), atol=1e-4), "cos² + sin² is not 1"


def says_whether_it_only_rotates(case: Case) -> None:
    """`rotates_only` where it turns queries and keys and puts nothing into the tokens; a study is told by it."""
    for one in case.variants():
        part = _part(one)
        width = max(width for width in HEADS if part.refuse_heads(width) is None)
        only = part.build(*GRIDS[0], WIDTH) is None and part.rotation(*GRIDS[0], width) is not None
        message = f"it {'only rotates' if only else 'does not only rotate'}: `rotates_only` has to say so"
        assert part.rotates_only == only, message


def _part(part: object) -> Positions:
    assert isinstance(part, Positions)
    return part


def _built(part: Positions, grid: tuple[int, int]) -> torch.nn.Module:
    module = part.build(*grid, WIDTH)
    assert module is not None
    return module


def _places(part: object, grid: tuple[int, int]) -> Tensor:
    """Return what is known of each place, (rows·columns, numbers)."""
    known, component, count = [], _part(part), grid[0] * grid[1]
    width = max(width for width in HEADS if component.refuse_heads(width) is None)
    with torch.no_grad():
        if (module := component.build(*grid, WIDTH)) is not None:
            known.append(module(torch.zeros(1, count, WIDTH))[0])
        if (rotation := component.rotation(*grid, width)) is not None:
            known += [*rotation()]
    if not known:
        raise NotApplicable("says nothing of places")
    return torch.cat([part.reshape(count, -1) for part in known], dim=1)


CHECKS: tuple[Check, ...] = (
    tells_places_apart,
    adds_to_each_image_alone,
    turns_by_angles,
    says_whether_it_only_rotates,
    networks.trains,
    networks.runs_in_bf16,
)
