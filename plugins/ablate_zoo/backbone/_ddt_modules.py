"""Modules of the decoupled diffusion transformer: the network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ablate.api import Labels
from ablate_zoo.backbone._transformer_modules import Block, PatchHead, PatchTokens, in_one_pass
from ablate_zoo.layers.embedding import LevelAndClass


class DDT(nn.Module):
    """Decoupled diffusion transformer (Wang et al. 2025, section 4): z = encoder(x, t, c), output = decoder(x, t, z).

    The decoder's condition is t + z, a vector for each patch. Where no block of it modulates anything, z is added to
    its tokens.
    """

    def __init__(
        self,
        condition: LevelAndClass,
        tokens: PatchTokens,
        encoder: Sequence[nn.Module],
        drawn: PatchTokens,
        decoder: Sequence[nn.Module],
        head: PatchHead,
    ) -> None:
        super().__init__()
        self.condition = condition
        self.tokens = tokens
        self.encoder = nn.ModuleList(encoder)
        self.drawn = drawn
        self.decoder = nn.ModuleList(decoder)
        self.head = head
        self.modulates = any(isinstance(block, Block) and block.modulation is not None for block in decoder)

    def forward(self, x: Tensor, noise: Tensor, labels: Labels, second: Tensor | None = None) -> Tensor:
        """As `DiT`: image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, outputs, H, W)."""
        context = self.condition(noise, labels, second)
        tokens, layout = self.tokens(x, context)
        for block in in_one_pass(self.encoder, context, tokens, layout):
            tokens = block(tokens, layout)
        z = tokens[:, layout.joined :]  # (B, N, D)
        context = context._replace(embedding=context.tokens[:, :1] + z)  # the timestep's own token is the first
        tokens, layout = self.drawn(x, context)
        if not self.modulates:
            tokens = tokens + z
        for block in in_one_pass(self.decoder, context, tokens, layout):
            tokens = block(tokens, layout)
        return self.drawn.image(self.head(tokens, context))
