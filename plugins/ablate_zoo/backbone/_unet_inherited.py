"""What a U-Net inherits from another one: which of its steps stand at the same place, and how new ones begin."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from ablate_zoo.backbone.unet import UNet

Key = tuple[int, str | int]  # a level, and which of its blocks, or "down" or "up"
FIXED = ("waves.frequency", "waves.phase")  # random frequencies of the noise level, which are not trained
DRAWN_BY = ("noise_embedding", "fourier_scale", "noise_features")  # the fields by which they are drawn


def places(child: UNet, parent: UNet, names: Sequence[str]) -> Mapping[str, str]:
    """Return {name: the parent's} of what stands at the same place.

    New blocks of a level come last in the encoder. In the decoder they come behind the first, which takes the skip of
    the encoder's last block, as before, and what comes from the level below.
    """
    moved = {
        "encoder": _same(_encoder(child), _encoder(parent)),
        "decoder": _same(_decoder(child, parent), _decoder(parent, parent)),
    }
    redrawn = any(getattr(child, field) != getattr(parent, field) for field in DRAWN_BY)
    found = {}
    for name in names:
        part, _, rest = name.partition(".")
        number, _, rest = rest.partition(".")
        if redrawn and name.endswith(FIXED):
            continue
        if part not in moved:
            found[name] = name
        elif int(number) in moved[part]:
            found[name] = f"{part}.{moved[part][int(number)]}.{rest}"
    return found


def _same(own: Sequence[Key | None], other: Sequence[Key | None]) -> dict[int, int]:
    """Return {place among one's steps: place of the same among the other's}."""
    known = {key: i for i, key in enumerate(other) if key is not None}
    return {i: known[key] for i, key in enumerate(own) if key in known}


def _encoder(config: UNet) -> list[Key | None]:
    return [(step.level, step.resample or step.index) for step in config.encoder]


def _decoder(config: UNet, parent: UNet) -> list[Key | None]:
    """Return the places of a decoder's steps as they are in the parent; None of a block that is new."""
    keys: list[Key | None] = []
    own, theirs = config.blocks_of_levels, parent.blocks_of_levels
    for step in config.decoder:
        further = own[step.level] - theirs[step.level] if step.level < len(theirs) else 0
        place = step.index - further if step.index else 0
        is_new = step.resample is None and step.index > 0 and place < 1
        keys.append(None if is_new else (step.level, step.resample or place))
    return keys


def pass_through(network: nn.Module, new: Collection[str], gated: bool) -> None:
    """Begin the cells of which nothing was inherited so that they pass on what they are given, where they can.

    gated: whether blocks end in a gate that begins at zero. A block that takes a skip passes on what it is fused with,
    where the two are put beside each other.
    """
    from ablate_zoo.backbone._unet_modules import Cell

    for name, cell in network.named_modules():
        if isinstance(cell, Cell) and all(f"{name}.{own}" in new for own, _ in cell.named_parameters()):
            _pass_on(cell, gated)


def _pass_on(cell: nn.Module, gated: bool) -> None:
    from torch import nn

    from ablate_zoo.backbone._unet_modules import ResidualBlock, SelfAttentionBlock, begin_at_zero
    from ablate_zoo.layers.attention import pass_on, zero

    block, attention = cell.body, cell.attention
    if not isinstance(block, ResidualBlock):
        return
    begin = getattr(cell.fusion, "pass_through", None)
    if callable(begin):
        begin()
    if not gated:
        begin_at_zero(block.conv2)
    if isinstance(block.skip, nn.Conv2d) and block.skip.in_channels > block.skip.out_channels:
        pass_on(block.skip)
    if isinstance(attention, SelfAttentionBlock) and isinstance(attention.attention.out, nn.Linear):
        zero(attention.attention.out)
