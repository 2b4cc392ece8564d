"""The parts of a U-Net, made from its config. Imports torch: for use in `build` alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from ablate.api import Setting, Site
from ablate_zoo.backbone import _unet_modules as maps
from ablate_zoo.backbone._levels import Step
from ablate_zoo.backbone._unet_modules import Cell, Residual, ResidualBlock, SelfAttentionBlock
from ablate_zoo.layers.attention import LinearAttention, SelfAttention

if TYPE_CHECKING:
    from ablate_zoo.backbone.unet import UNet


RESIDUAL = ("residual", "residual_conv")  # changes of size that are blocks


class Cells:
    """Makes the steps of encoder, middle and decoder."""

    def __init__(self, config: UNet, setting: Setting) -> None:
        self.config = config
        self.embedding = 4 * config.width  # numbers of the context's vectors, as in DDPM
        self.shape = setting.shape[1:]
        self.side = min(self.shape)
        steps = [*config.encoder, *config.decoder]
        ways = {"down": config.down, "up": config.up, None: "residual"}
        self.blocks = 2 + sum(ways[step.resample] in RESIDUAL for step in steps)  # two in the middle
        self.made = 0  # blocks so far, which are made in the order of the forward pass

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
        return maps.norm(self.config.norm, channels, self.config.groups)

    def _block(self, step: Step, project: bool = False) -> nn.Module:
        config, how = self.config, self.config.conditioning
        site = self._site(step.outputs, step)
        self.made += 1
        return ResidualBlock(
            step.inputs,
            step.outputs,
            self.norm,
            partial(maps.conv3x3, separable=config.convolution == "separable"),
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
        kind = SelfAttention if self.config.attention == "full" else LinearAttention
        attention = kind(channels, self.config.heads_of(channels))
        self._last(attention.out)
        return SelfAttentionBlock(self.norm(channels), attention, self._residual())

    def _resample(self, step: Step) -> nn.Module:
        assert step.resample is not None
        way = self.config.down if step.resample == "down" else self.config.up
        if way in RESIDUAL:
            return self._block(step, project=way == "residual_conv")
        weights = way in ("strided_conv", "nearest_conv")
        return maps.Resample(step.inputs, step.resample, weights, self.config.convolution == "separable")

    def _residual(self) -> Residual:
        return Residual(self.config.rescale, self.config.drop_path)

    def _last(self, layer: nn.Module) -> nn.Module:
        return maps.begin_at_zero(layer) if self.config.zero_init else layer
