"""backbone `uvit`: U-ViT, a vision transformer over patches with long skip connections between mirrored blocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from ablate.api import Backbone, Choice, Conditioning, Fusion, InputSpec, Mlp, Opened, Positions, slot
from ablate_zoo.backbone._transformer import Transformer

if TYPE_CHECKING:
    from torch import nn


class UViT(Transformer):
    """U-ViT (Bao et al. 2023): timestep and class are tokens, and each block of the second half has a long skip.

    U-ViT-L/2: patch 2, depth 21, width 1024, heads 16. A fusion sees the patches' tokens as feature maps, and
    the tokens that have joined them as maps of one column. The networks of the paper are in `studies/models/`.
    """

    name = "uvit"

    # With an odd number, one block stands in the middle, without a skip.
    depth: Annotated[int, Field(ge=2, le=1000), Choice(5, 7, 9, 13)] = 13
    conditioning: Conditioning = slot("in_context")
    positions: Annotated[Positions, Opened()] = slot("learned")
    qkv_bias: bool = False
    mlp: Annotated[Mlp, Opened()] = slot("gelu")

    fusion: Fusion = slot("concat")
    time_mlp: bool = False  # the noise level's frequencies through an MLP, as in DiT
    final_conv: bool = True  # a 3×3 convolution over the image at the end
    init: Literal["normal", "xavier"] = "normal"  # of deviation 0.02 as in the paper; small networks need Xavier's

    @model_validator(mode="after")
    def _begins_by_xavier(self) -> Self:
        if self.t_fixup and self.init != "xavier":
            raise ValueError(f"t_fixup scales Xavier's weights, and init is {self.init!r}; say init: xavier")
        return self

    def excludes(self) -> Mapping[str, str]:
        """Patches that are not all there."""
        return {
            **super().excludes(),
            "routed_tokens": "its long skips fuse the tokens of all patches as feature maps; say routing: none",
        }

    def places(self, parent: Backbone, names: Sequence[str]) -> Mapping[str, str]:
        """Encoder blocks count from the image, decoder blocks and their long skips from the image too: from the end."""
        if not isinstance(parent, UViT):
            return super().places(parent, names)
        shift = parent.depth // 2 - self.depth // 2

        def place(name: str) -> str:
            part, _, rest = name.partition(".")
            number, _, rest = rest.partition(".")
            return f"{part}.{int(number) + shift}.{rest}" if part in ("decoder", "skips") else name

        return {name: place(name) for name in names}

    def pass_through(self, network: nn.Module, new: Collection[str]) -> None:
        """New blocks add nothing at first, and new long skips pass on what comes from below, where they concatenate."""
        from ablate_zoo.backbone._uvit_modules import LongSkip

        super().pass_through(network, new)
        for name, skip in network.named_modules():
            if isinstance(skip, LongSkip) and all(f"{name}.{own}" in new for own, _ in skip.named_parameters()):
                skip.pass_through()

    def build(self, setting: InputSpec) -> nn.Module:
        """`UViT` of `ablate_zoo.backbone._uvit_modules`, initialised as in the paper."""
        from torch import nn

        from ablate_zoo.backbone import _uvit_modules as modules
        from ablate_zoo.backbone._transformer_modules import branches_of
        from ablate_zoo.layers.attention import xavier, zero

        tokens, head, blocks = self._tokens(setting), self._head(setting), self._blocks(setting)
        half = self.depth // 2
        skips = [
            modules.LongSkip(
                self.fusion.build_at(self.width, self.width, self._site(2, setting, i)),
                self.fusion.channels(self.width, self.width),
                self.width,
                tokens.grid,
            )
            for i in range(self.depth - half, self.depth)
        ]
        outputs = self._outputs(setting)
        refine = nn.Conv2d(outputs, outputs, 3, padding=1) if self.final_conv else nn.Identity()
        for module in (tokens.embed, head.linear, *branches_of(blocks)):
            (modules.init_uvit if self.init == "normal" else xavier)(module)
        self._by_depth(blocks)
        if self.zero_init:
            zero(refine if self.final_conv else head.linear)
        condition = self._condition(setting, self.time_mlp)
        self._at_width(condition, tokens, blocks, head, constant=self.init == "normal")
        return modules.UViT(
            condition,
            tokens,
            blocks[:half],
            blocks[half : len(blocks) - half],
            skips,
            blocks[len(blocks) - half :],
            head,
            refine,
        )
