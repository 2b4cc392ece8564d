"""Builds the modules of a U-Net from its config: condition, encoder, middle and decoder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from ablate.api import InputSpec, MixerSite, Site
from ablate_zoo.backbone._transformer_modules import Block, ResidualBranch
from ablate_zoo.backbone._unet_modules import (
    BLOCKS_THAT_RESAMPLE,
    Cell,
    PassedBy,
    Resample,
    ResidualBlock,
    ResidualSum,
    SelfAttentionBlock,
    SideStep,
    TransformerOverMaps,
    begin_at_zero,
    begin_norm_at_zero,
    conv3x3,
    norm,
)
from ablate_zoo.backbone._unet_options import attention_name, block_name, is_left_out
from ablate_zoo.layers.attention import zero_last
from ablate_zoo.layers.conditions import Embedders
from ablate_zoo.layers.embedding import (
    ClassEmbedding,
    EndpointFrequencies,
    JoinedEmbedding,
    LevelAndClass,
    LevelEmbedding,
)
from ablate_zoo.layers.fourier import FourierPairs, RandomFourier
from ablate_zoo.layers.magnitudes import activation_of, mp_sum
from ablate_zoo.layers.norms import query_key_norm

if TYPE_CHECKING:
    from ablate_zoo.backbone._unet_steps import UNetStep
    from ablate_zoo.backbone.unet import UNet as UNetConfig


class UNetBuilder:
    """Builds the modules of encoder, middle and decoder from a U-Net's config, in the order of the forward pass."""

    def __init__(self, config: UNetConfig, setting: InputSpec) -> None:
        self.config = config
        self.embedding = config.embedding_width or 4 * config.width  # numbers of the context's vectors
        self.shape = setting.shape[1:]
        self.side = min(self.shape)
        steps = [*config.encoder, *config.decoder]
        ways = {"down": config.down, "up": config.up, None: "residual"}
        resampling = sum(ways[step.resample] in BLOCKS_THAT_RESAMPLE for step in steps)
        self.blocks = config.middle_blocks + resampling
        self.built = 0  # blocks so far

    def condition(self, classes: int | None, further: Embedders | None = None) -> nn.Module:
        """Timestep and class embedding, initialised as in ADM: by the layers' own initial weights; other conditions."""
        config = self.config
        level = self._level()
        joined = config.class_embedding == "before_mlp"
        label = None if classes is None else ClassEmbedding(classes, level.size if joined else self.embedding)
        for layer in (level.first, level.second, label):
            if layer is not None:
                layer.reset_parameters()
        if joined:
            return JoinedEmbedding(level, label, further)
        way = self._level() if config.second_label else None
        return LevelAndClass(level, label, way, further, partial(mp_sum, t=0.5) if config.mp_embedding else torch.add)

    def _level(self) -> LevelEmbedding:
        config = self.config
        size = config.noise_features or config.width + config.width % 2  # as many cosines as sines
        waves = {
            "frequencies": lambda: None,
            "endpoint": lambda: EndpointFrequencies(size),
            "fourier": lambda: RandomFourier(size),
            "fourier_pairs": lambda: FourierPairs(size, config.fourier_scale),
        }[config.noise_embedding]()
        activation = activation_of(config.activation)()
        return LevelEmbedding(self.embedding, size, waves, config.embedding_layers, activation)

    def cell(self, step: UNetStep) -> nn.Module:
        """Build one step of encoder or decoder."""
        config = self.config
        if step.resample is not None:
            return Cell(self._resample(step), limit=config.clip_activations)
        fusion = None
        if step.skip is not None:
            fusion = config.fusion.build_at(step.before, step.skip, self._site(step.before, step))
        block = self._body(step)
        return Cell(block, self._attention(step) if self._attends(step) else None, fusion, config.clip_activations)

    def _body(self, step: UNetStep) -> nn.Module:
        """Build the block of a step, or what is left of it."""
        if not is_left_out(block_name(step, self.side), self.config.without):
            if self.config.is_transformer(step, self.side):
                return self._transformer(step)
            return self._block(step, is_encoder=step.part == "encoder")
        self.built += 1  # the other blocks keep their numbers
        return PassedBy(step.inputs, step.outputs)

    def _attends(self, step: UNetStep) -> bool:
        """Return whether attention follows the block of a step: not where one of the two is left out."""
        names = (block_name(step, self.side), attention_name(step, self.side))
        without = self.config.without
        return self.config.attends(step, self.side) and not any(is_left_out(name, without) for name in names)

    def side_path(self, image: int) -> dict[int, nn.Module]:
        """Build the path of the image beside the encoder, {cell: step}; {} where there is none."""
        config = self.config
        downs = [(i, step.outputs) for i, step in enumerate(config.encoder) if step.resample == "down"]
        inputs = [image, *(outputs for _, outputs in downs[:-1])]
        pairs = zip(downs, inputs, strict=True) if config.side_path and downs else ()
        return {i: SideStep(before, outputs, config.taps, config.biases) for (i, outputs), before in pairs}

    def middle(self) -> list[nn.Module]:
        """Build the bottleneck at the smallest size: block, attention, block."""
        steps, limit = self.config.middle, self.config.clip_activations
        attention = [self._attention(step) if self._attends(step) else None for step in steps]
        return [Cell(self._body(step), attend, limit=limit) for step, attend in zip(steps, attention, strict=True)]

    def norm(self, channels: int) -> nn.Module:
        """Build a norm of the kind that the network has."""
        config = self.config
        return norm(config.norm, channels, config.groups_of(channels), config.norm_eps, config.norm_affine)

    def _block(self, step: UNetStep, project: bool = False, is_encoder: bool = False) -> nn.Module:
        config, how = self.config, self.config.conditioning
        site = self._site(step.outputs, step)
        self.built += 1
        behind = config.block_order == "convolution_first"
        # Behind a gate that starts at zero, a second zero would keep both from ever learning.
        at_zero = config.zero_init and "identity_at_start" not in how.provides()
        by_norm = behind and config.norm != "none"
        block = ResidualBlock(
            step.inputs,
            step.outputs,
            self.norm,
            partial(conv3x3, separable=config.is_separable(step, self.side)),
            begin_at_zero if at_zero and not by_norm else nn.Identity(),
            self._residual(),
            how.modulation(site),
            how.attention(site),
            config.dropout,
            step.resample,
            project,
            activation_of(config.activation),
            config.skip_first and is_encoder,
            config.pixel_norm and is_encoder,
            config.taps,
            behind,
        )
        if at_zero and by_norm:
            begin_norm_at_zero(block.norm2)
        return block

    def _transformer(self, step: UNetStep) -> nn.Module:
        config, how, width = self.config, self.config.conditioning, step.outputs
        site = replace(self._site(width, step), branches=2)
        # Behind a gate that starts at zero, a second zero would keep both from ever learning.
        at_zero = config.zero_init and "identity_at_start" not in how.provides()
        attend = config.mixer_of(step, self.side).build(replace(self._mixer_site(step), zero_init=at_zero))
        feed = config.mlp.build(width, int(config.mlp_ratio * width))
        self.built += 1
        if at_zero:
            zero_last(feed)

        def residual(branch: nn.Module) -> ResidualBranch:
            norm = nn.LayerNorm(width, eps=config.norm_eps, elementwise_affine=config.norm_affine)
            return ResidualBranch(branch, norm, dropout=config.dropout, drop_path=config.drop_path)

        block = Block(residual(attend), residual(feed), how.modulation(site), how.attention(site))
        return TransformerOverMaps(step.inputs, width, block)

    def _site(self, width: int, step: UNetStep) -> Site:
        height, across = (side >> step.level for side in self.shape)
        heads = self.config.heads_of(width)
        return Site(width, self.embedding, 1, heads, block=self.built, blocks=self.blocks, resolution=(height, across))

    def _attention(self, step: UNetStep) -> nn.Module:
        attention = self.config.mixer_of(step, self.side).build(self._mixer_site(step))
        return SelfAttentionBlock(self.norm(step.outputs), attention, self._residual())

    def _mixer_site(self, step: UNetStep) -> MixerSite:
        site = self._site(step.outputs, step)
        return MixerSite(
            site.width,
            site.embedding,
            heads=site.heads,
            zero_init=self.config.zero_init,
            block=site.block,
            blocks=site.blocks,
            resolution=site.resolution,
            query_key_norm=partial(query_key_norm, self.config.qk_norm, site.heads, site.width // site.heads),
        )

    def _resample(self, step: UNetStep) -> nn.Module:
        assert step.resample is not None
        way = self.config.down if step.resample == "down" else self.config.up
        if way in BLOCKS_THAT_RESAMPLE:
            return self._block(step, way == "residual_conv", is_encoder=step.resample == "down")
        weights = way in ("strided_conv", "nearest_conv")
        separable, at_end = self.config.is_separable(step, self.side), self.config.padding == "end"
        return Resample(step.inputs, step.resample, weights, separable, self.config.taps, at_end)

    def _residual(self) -> ResidualSum:
        return ResidualSum(self.config.rescale, self.config.drop_path, self.config.balance)
