"""Fields that the transformers `dit` and `uvit` share, and how patch embedding, blocks and head are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from ablate.api import Added, Backbone, Choice, Conditioning, InputSpec, Range, Site, When, slot

if TYPE_CHECKING:
    from torch import nn

    from ablate_zoo.backbone._transformer_modules import Block, PatchHead, PatchTokens
    from ablate_zoo.layers.embedding import LevelAndClass

Share = Annotated[float, Field(ge=0, lt=1)]


class Transformer(Backbone):
    """Vision transformer over patches (Dosovitskiy et al. 2021); subclasses say how its blocks are connected."""

    patch: Annotated[int, Field(ge=1, le=4096), Choice(2, 4, 8)] = 2  # pixels along a token's side
    depth: Annotated[int, Field(ge=1, le=1000), Choice(4, 6, 8, 12)] = 12  # blocks
    # Numbers a token. The default range is divided by every usual number of heads: 2, 3, 4, 6, 8, 12.
    width: Annotated[int, Field(ge=4, le=65_536, multiple_of=4), Choice(96, 192, 288, 384)] = 384
    heads: Annotated[int, Field(ge=1, le=65_536)] = 6
    mlp_ratio: Annotated[float, Field(gt=0, le=64)] = 4.0  # hidden width of the MLP / width
    conditioning: Conditioning = slot("adaln_zero")
    second_label: Annotated[bool, Added(before=False)] = False  # also told towards which noise level it predicts
    learned_sigma: bool = False  # twice the channels: a prediction and an interpolation of the variance

    # pre: the branch reads Norm(x); post: Norm(x + branch); sandwich: x + Norm(branch(Norm(x)))
    norm_placement: Literal["pre", "post", "sandwich"] = "pre"
    norm: Literal["layer", "rms"] = "layer"
    norm_affine: Literal["unmodulated", "always", "never"] = "unmodulated"  # norms with a scale of their own
    qk_norm: Literal["none", "cosine", "rms"] = "none"  # of queries and keys, a head
    positions: Literal["sincos", "learned", "rope"] = "sincos"  # rope: queries and keys are turned, in 2-D
    attention: Literal["softmax", "linear"] = "softmax"  # linear: its cost grows with the tokens, not their square
    qkv_bias: bool = True
    mlp: Literal["gelu_tanh", "gelu", "swiglu"] = "gelu_tanh"  # all with equally many parameters
    parallel: bool = False  # attention and MLP read the same x, and are both added to it
    residual: Literal["none", "fixed", "learned"] = "none"  # x + β·branch: β = 1, a number, a learned one a channel
    residual_beta: Annotated[
        float, Field(gt=0, le=1), When("residual", ("fixed", "learned")), Range(0.01, 1.0, log=True)
    ] = 0.1  # β, at the start where it is learned
    zero_init: bool = True  # the last layer starts at zero, and what the conditioning wants to start there
    dropout: Annotated[Share, Range(0.0, 0.3)] = 0.0  # of the numbers that a branch gives
    drop_path: Annotated[Share, Range(0.0, 0.2)] = (
        0.0  # stochastic depth: an image loses its branch; from 0 in the first block
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        quarters = 4 if self.positions == "rope" else 1
        fits = [h for h in range(1, self.width + 1) if self.width % (quarters * h) == 0]
        near = min(fits, key=lambda h: abs(h - self.heads))
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the width {self.width}; the nearest that do: {near}")
        if self.heads not in fits:
            raise ValueError(
                f"positions 'rope' turn pairs of numbers, by row and by column: a head's width has to be a multiple "
                f"of 4, not {self.width // self.heads} ({self.width}/{self.heads}); the nearest heads that fit: {near}"
            )
        return self

    @model_validator(mode="after")
    def _parallel_reads_a_norm(self) -> Self:
        if self.parallel and self.norm_placement == "post":
            raise ValueError(
                "norm_placement 'post' normalises after each branch, and parallel branches have no order; "
                "say norm_placement: sandwich or pre, or parallel: false"
            )
        return self

    def provides(self) -> frozenset[str]:
        """Tokens to condition, a null class, the variance where it is learned, and a second noise label."""
        options = {"learned_variance": self.learned_sigma, "second_label": self.second_label}
        return frozenset({"tokens", "null_class", *(word for word, on in options.items() if on)})

    def requires(self) -> Mapping[str, str]:
        """A loss that makes use of the variance, where it is learned."""
        if not self.learned_sigma:
            return {}
        return {"variance_loss": "learned_sigma gives a variance that no loss trains; set it to false, or the loss"}

    def refuse(self, setting: InputSpec) -> str | None:
        """Patches must tile the image."""
        _, height, width = setting.shape
        if height % self.patch == 0 and width % self.patch == 0:
            return None
        fits = [p for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
        near = min(fits, key=lambda p: abs(p - self.patch))
        return f"patch {self.patch} does not divide {height}×{width}; the nearest that does: {near}"

    def _site(self, branches: int, setting: InputSpec, block: int | None = None) -> Site:
        _, height, width = setting.shape
        grid = height // self.patch, width // self.patch
        return Site(self.width, self.width, branches, self.heads, self.zero_init, block, self.depth, grid)

    def _outputs(self, setting: InputSpec) -> int:
        return setting.shape[0] * (2 if self.learned_sigma else 1)

    def _tokens(self, setting: InputSpec) -> PatchTokens:
        from ablate_zoo.backbone._transformer_modules import PatchTokens
        from ablate_zoo.layers.embedding import Learned, Rope2d, SinCos2d

        _, height, width = setting.shape
        size = self.width // self.heads if self.positions == "rope" else self.width
        kind = {"sincos": SinCos2d, "learned": Learned, "rope": Rope2d}[self.positions]
        positions = kind(height // self.patch, width // self.patch, size)
        sequence = self.conditioning.sequence(self._site(2, setting))
        return PatchTokens(setting.shape, self.patch, self.width, self._outputs(setting), positions, sequence)

    def _condition(self, setting: InputSpec, time_mlp: bool = True) -> LevelAndClass:
        from ablate_zoo.layers.embedding import ClassEmbedding, FrequencyEmbedding, LevelAndClass, LevelEmbedding

        level = LevelEmbedding(self.width) if time_mlp else FrequencyEmbedding(self.width)
        label = None if setting.classes is None else ClassEmbedding(setting.classes, self.width)
        return LevelAndClass(level, label, LevelEmbedding(self.width) if self.second_label else None)

    def _blocks(self, setting: InputSpec) -> list[Block]:
        return [self._block(i, setting) for i in range(self.depth)]

    def _block(self, index: int, setting: InputSpec) -> Block:
        from ablate_zoo.backbone._transformer_modules import Block, LayerScale, ResidualBranch
        from ablate_zoo.layers import attention
        from ablate_zoo.layers.mlp import mlp
        from ablate_zoo.layers.norms import norm, query_key_norm

        site, drop_path = self._site(2, setting, index), self.drop_path * index / max(self.depth - 1, 1)
        modulation = self.conditioning.modulation(site)
        places = {"pre": ("before",), "post": ("behind",), "sandwich": ("before", "after")}[self.norm_placement]

        def residual(branch: nn.Module) -> ResidualBranch:
            # What a condition does not modulate keeps a scale of its own: such as the second norm of a sandwich.
            norms = {p: norm(self.norm, self.width, self._affine(modulation if p != "after" else None)) for p in places}
            learned = LayerScale(self.width, self.residual_beta) if self.residual == "learned" else 1.0
            beta = self.residual_beta if self.residual == "fixed" else learned
            return ResidualBranch(branch, **norms, beta=beta, dropout=self.dropout, drop_path=drop_path)

        attend = attention.SelfAttention(
            self.width,
            self.heads,
            self.qkv_bias,
            query_key_norm(self.qk_norm, self.heads, self.width // self.heads),
            {"softmax": attention.DotProduct, "linear": attention.LinearProduct}[self.attention](),
        )
        feed = mlp(self.mlp, self.width, int(self.width * self.mlp_ratio))
        return Block(residual(attend), residual(feed), modulation, self.conditioning.attention(site), self.parallel)

    def _head(self, setting: InputSpec) -> PatchHead:
        from ablate_zoo.backbone._transformer_modules import PatchHead
        from ablate_zoo.layers.norms import norm

        modulation = self.conditioning.head(self._site(1, setting))
        last = norm(self.norm, self.width, self._affine(modulation))
        return PatchHead(last, self.width, self._outputs(setting) * self.patch**2, modulation)

    def _affine(self, modulation: object) -> bool:
        return self.norm_affine == "always" or (self.norm_affine == "unmodulated" and modulation is None)
