"""backbone `dit`: a transformer over patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Backbone, Choice, Conditioning, Setting, Site, slot

if TYPE_CHECKING:
    from torch import nn


class DiT(Backbone):
    """Diffusion transformer (Peebles & Xie 2023). DiT-XL/2: patch 2, depth 28, width 1152, heads 16."""

    name = "dit"

    patch: Annotated[int, Field(ge=1), Choice(2, 4, 8)] = 2  # pixels along a token's side
    depth: Annotated[int, Field(ge=1), Choice(4, 6, 8, 12)] = 12  # blocks
    # Numbers a token. The default range is divided by every usual number of heads: 2, 3, 4, 6, 8, 12.
    width: Annotated[int, Field(ge=4, multiple_of=4), Choice(96, 192, 288, 384)] = 384
    heads: Annotated[int, Field(ge=1)] = 6
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0  # hidden width of the MLP / width
    conditioning: Conditioning = slot("adaln_zero")
    learned_sigma: bool = False  # twice the channels: a prediction and an interpolation of the variance

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            near = min((h for h in range(1, self.width + 1) if self.width % h == 0), key=lambda h: abs(h - self.heads))
            raise ValueError(f"{self.heads} heads do not divide the width {self.width}; the nearest that do: {near}")
        return self

    def provides(self) -> frozenset[str]:
        """Tokens to condition, a null class, and the variance where it is learned."""
        return frozenset({"tokens", "null_class"} | ({"learned_variance"} if self.learned_sigma else set()))

    def requires(self) -> Mapping[str, str]:
        """A loss that makes use of the variance, where it is learned."""
        if not self.learned_sigma:
            return {}
        return {"variance_loss": "learned_sigma gives a variance that no loss trains; set it to false, or the loss"}

    def refuse(self, setting: Setting) -> str | None:
        """Patches must tile the image."""
        _, height, width = setting.shape
        if height % self.patch == 0 and width % self.patch == 0:
            return None
        fits = [p for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
        near = min(fits, key=lambda p: abs(p - self.patch))
        return f"patch {self.patch} does not divide {height}×{width}; the nearest that does: {near}"

    def build(self, setting: Setting) -> nn.Module:
        """See `ablate_zoo.modules.dit`."""
        from ablate_zoo.modules import dit

        how = self.conditioning
        site = Site(width=self.width, embedding=self.width, branches=2, heads=self.heads)
        hidden = int(self.width * self.mlp_ratio)
        blocks = [
            dit.Block(self.width, self.heads, hidden, how.modulation(site), how.attention(site))
            for _ in range(self.depth)
        ]
        outputs = setting.shape[0] * (2 if self.learned_sigma else 1)
        head = dit.Head(self.width, outputs * self.patch**2, how.head(Site(self.width, self.width, 1, self.heads)))
        dit.begin(blocks, head)
        return dit.DiT(
            setting.shape, setting.classes, self.patch, self.width, outputs, blocks, head, how.sequence(site)
        )
