"""condition `inpainting`: the image with a hole, and where the hole is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Condition, ConditionSpec, InputSpec, Told, Uniform

if TYPE_CHECKING:
    from torch import Tensor


class Inpainting(Condition):
    """The image with a rectangle set to zero, and a channel that is 1 in it and 0 elsewhere, -> (C + 1) channels.

    Each side of the rectangle is drawn between two shares of the image's, and its place (as the random boxes of Saharia
    et al. 2022, "Palette", section 4.2). The same image has another hole each time it is trained on.
    """

    name = "inpainting"

    least: Annotated[float, Field(gt=0, le=1)] = 0.25  # share of a side
    most: Annotated[float, Field(gt=0, le=1)] = 0.75

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least {self.least:g} is more than most {self.most:g}: exchange the two")
        return self

    def excludes(self) -> Mapping[str, str]:
        """Latents, each of whose places knows its neighbours."""
        return {"latents": "it is made of pixels, and these data are latents"}

    def spec_of(self, setting: InputSpec, columns: Mapping[str, type]) -> ConditionSpec:
        """An image with one channel more."""
        channels, height, width = setting.shape
        return ConditionSpec(self.record_name, "image", (channels + 1, height, width))

    def tell(self, stored: Tensor | None, x0: Tensor, uniform: Uniform) -> Told:
        """Of the image itself, with four numbers drawn for it."""
        import torch

        rows = self._within(x0.shape[2], uniform("height"), uniform("row"))
        columns = self._within(x0.shape[3], uniform("width"), uniform("column"))
        hole = (rows[:, None, :, None] & columns[:, None, None, :]).to(x0.dtype)
        return Told(torch.cat([x0 * (1 - hole), hole], dim=1))

    def _within(self, side: int, length: Tensor, place: Tensor) -> Tensor:
        """Return which of `side` pixels lie within the hole, (B, side) bool."""
        import torch

        size = ((self.least + (self.most - self.least) * length) * side).round().clamp(1, side)
        first = (place * (side - size + 1)).floor()
        pixel = torch.arange(side, device=length.device)
        return (pixel >= first[:, None]) & (pixel < (first + size)[:, None])
