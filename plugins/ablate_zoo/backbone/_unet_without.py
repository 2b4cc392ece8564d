"""The parts of a U-Net that can be left out, by name: residual blocks, and their attention; without torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

if TYPE_CHECKING:
    from ablate_zoo.backbone._unet_steps import UNetStep
    from ablate_zoo.backbone.unet import UNet

Without = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
    Field(max_length=1000),
    AfterValidator(lambda names: tuple(sorted(set(names)))),  # which they are decides, not how they are listed
]


def block_name(step: UNetStep, side: int) -> str:
    """Return the name of a step's residual block, such as `decoder.block.32.0`. side: of the image, the shorter one."""
    return f"{step.part}.block.{side >> step.level}.{step.index}"


def attention_name(step: UNetStep, side: int) -> str:
    """Return the name of a step's self-attention, such as `decoder.attention.32.0`."""
    return f"{step.part}.attention.{side >> step.level}.{step.index}"


def is_left_out(name: str, without: Collection[str]) -> bool:
    """Return whether a part is left out, by its own name, or by a name that it begins with: `decoder.attention.32`."""
    return name in without or any(name.startswith(f"{beginning}.") for beginning in without)


def parts(config: UNet, side: int) -> Iterator[str]:
    """Yield the names of all parts that can be left out, in the order of the forward pass."""
    for step in (*config.encoder, *config.middle, *config.decoder):
        if step.resample is None:
            yield block_name(step, side)
            if config.attends(step, side):
                yield attention_name(step, side)


def without_problem(config: UNet, side: int) -> str | None:
    """Return which name of `without` is that of no part, and what is near; None where all are."""
    names = list(parts(config, side))
    steps = [name.split(".") for name in names]
    # `encoder` and `decoder` alone would say no network; `middle` is a part like others
    known = {".".join(step[:n]) for step in steps for n in range(1 if step[0] == "middle" else 2, len(step) + 1)}
    unknown = next((name for name in config.without if name not in known), None)
    if unknown is None:
        return None
    alike = [name for name in sorted(known) if name.count(".") == unknown.count(".")]
    near = get_close_matches(unknown, alike, n=1) or get_close_matches(unknown, sorted(known), n=1)
    listing = sorted({".".join(step[:3]) for step in steps})
    hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(listing)}"
    return f"without names {unknown!r}, which is no part of this U-Net; {hint}"
