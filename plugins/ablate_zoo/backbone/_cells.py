"""The parts of a U-Net, made from its config. Imports torch: for use in `build` alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from ablate.api import InputSpec, Site
from ablate_zoo.backbone import _unet_modules as modules
from ablate_zoo.backbone._levels import Step
from ablate_zoo.backbone._unet_modules import Cell, Residual, ResidualBlock, SelfAttentionBlock
from ablate_zoo.layers.attention import DotProduct, LinearProduct, SelfAttention
from ablate_zoo.layers.condition import LevelAndClass
from ablate_zoo.layers.embedding import ClassEmbedding, LevelEmbedding

if TYPE_CHECKING:
    from ablate_zoo.backbone.unet import UNet


RESIDUAL = ("residual", "residual_conv")  # changes of size that are blocks


class Cells:
    """Makes the steps of encoder, middle and decoder."""

    def __init__(self, config: UNet, setting: InputSpec) -> None:
        self.config = config
        self.embedding = 4 * config.width  # numbers of the context's vectors, as in DDPM
        self.shape = setting.shape[1:]
        self.side = min(self.shape)
        steps = [*config.encoder, *config.decoder]
        ways = {"down": config.down, "up": config.up, None: "residual"}
        self.blocks = 2 + sum(ways[step.resample] in RESIDUAL for step in steps)  # two in the middle
        self.made = 0  # blocks so far, which are made in the order of the forward pass

    def condition(self, classes: int | None) -> LevelAndClass:
        """Noise level and class in one context, begun as in ADM: by the layers' own initial weights."""
        width = self.config.width
        level = LevelEmbedding(self.embedding, size=width + width % 2)  # as many cosines as sines
        label = None if classes is None else ClassEmbedding(classes, self.embedding)
        for layer in (level.first, level.second, label):
            if layer is not None:
                layer.reset_parameters()
        return LevelAndClass(level, label)

    def make(self, step: Step) -> nn.Module:
        """One step of encoder or decoder."""
        if step.resample is not None:
            return Cell(self._resample(step))
        config = self.config
        attends = self.side >> step.level in config.attention_resolutions
        if step.skip is None:
            return Cell(self._block(step), self._attention(step.outputs) if attends else None)
        attends = attends and (step.last or config.decoder_attention == "every_block")
        fusion = config.fusion.build_at(step.before, step.skip, self._site(step.before, step))
        return Cell(self._block(step), self._attention(step.outputs) if attends else None, fusion)

    def middle(self) -> list[nn.Module]:
        """Block, attention, block, at the smallest size."""
        channels = self.config.channels[-1]
        step = Step(len(self.config.channels) - 1, channels, channels)
        attention = self._attention(channels) if self.config.middle_attention else None
        return [Cell(self._block(step), attention), Cell(self._block(step))]

    def norm(self, channels: int) -> nn.Module:
        """A norm of the kind that the network has."""
        return modules.norm(self.config.norm, channels, self.config.groups)

    def _block(self, step: Step, project: bool = False) -> nn.Module:
        config, how = self.config, self.config.conditioning
        site = self._site(step.outputs, step)
        self.made += 1
        return ResidualBlock(
            step.inputs,
            step.outputs,
            self.norm,
            partial(modules.conv3x3, separable=config.convolution == "separable"),
            # Behind a gate that starts at zero, a second zero would keep both from ever learning.
            self._last if "identity_at_start" not in how.provides() else nn.Identity(),
            self._residual(),
            how.modulation(site),
            how.attention(site),
            config.dropout,
            step.resample,
            project,
        )

    def _site(self, width: int, step: Step) -> Site:
        height, across = (side >> step.level for side in self.shape)
        heads = self.config.heads_of(width)
        return Site(width, self.embedding, 1, heads, block=self.made, blocks=self.blocks, resolution=(height, across))

    def _attention(self, channels: int) -> nn.Module:
        product = {"full": DotProduct, "linear": LinearProduct}[self.config.attention]()
        attention = SelfAttention(channels, self.config.heads_of(channels), product=product)
        self._last(attention.out)
        return SelfAttentionBlock(self.norm(channels), attention, self._residual())

    def _resample(self, step: Step) -> nn.Module:
        assert step.resample is not None
        way = self.config.down if step.resample == "down" else self.config.up
        if way in RESIDUAL:
            return self._block(step, project=way == "residual_conv")
        weights = way in ("strided_conv", "nearest_conv")
        return modules.Resample(step.inputs, step.resample, weights, self.config.convolution == "separable")

    def _residual(self) -> Residual:
        return Residual(self.config.rescale, self.config.drop_path)

    def _last(self, layer: nn.Module) -> nn.Module:
        return modules.begin_at_zero(layer) if self.config.zero_init else layer
