"""condition `low_resolution`: the image at a smaller size, enlarged again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ablate.api import Choice, Condition, ConditionSpec, InputError, InputSpec, Told, Uniform

if TYPE_CHECKING:
    from torch import Tensor


class LowResolution(Condition):
    """Area averages over factor × factor pixels, brought back to the size: what an upsampler starts from.

    Saharia et al. 2021, "Image Super-Resolution via Iterative Refinement"; Dhariwal & Nichol 2021, section 6.
    """

    name = "low_resolution"

    factor: Annotated[int, Field(ge=2, le=64), Choice(2, 4, 8)] = 4
    enlarged: Literal["nearest", "bilinear"] = "bilinear"  # how it is brought back to the size

    def excludes(self) -> Mapping[str, str]:
        """Latents, whose averages are no small image's latents."""
        return {"latents": "it is made of pixels, and these data are latents"}

    def spec_of(self, setting: InputSpec, columns: Mapping[str, type]) -> ConditionSpec:
        """An image of the data's shape. Raises InputError where the factor does not divide its sides."""
        _, height, width = setting.shape
        if height % self.factor or width % self.factor:
            fits = [f for f in range(2, min(height, width) + 1) if height % f == 0 and width % f == 0]
            near = f"; the nearest that does: {min(fits, key=lambda f: abs(f - self.factor))}" if fits else ""
            raise InputError(f"condition {self.name!r}: factor {self.factor} does not divide {height}×{width}{near}")
        return ConditionSpec(self.record_name, "image", setting.shape)

    def tell(self, stored: Tensor | None, x0: Tensor, uniform: Uniform) -> Told:
        """Of the image itself."""
        from torch.nn import functional as F

        small = F.avg_pool2d(x0, self.factor)
        if self.enlarged == "nearest":
            return Told(F.interpolate(small, scale_factor=self.factor, mode="nearest"))
        return Told(F.interpolate(small, scale_factor=self.factor, mode="bilinear", align_corners=False))
