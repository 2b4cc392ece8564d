"""Parts of networks that are wrong: mixers, MLPs, norms, positions, residuals, routings; `fails`: which checks tell."""

from typing import ClassVar

import torch
from torch import nn

from ablate.api import Layout, Mixer, Mlp, Norm, Positions, Residual, Routing


class Means(nn.Module):
    """The mean of all tokens through a linear layer, and one fault."""

    def __init__(self, site, way):
        super().__init__()
        self.way, self.count = way, site.resolution[0] * site.resolution[1]
        self.linear = nn.Linear(site.width, site.width)
        self.spare = nn.Parameter(torch.zeros(3)) if way == "unused" else None
        self.register_buffer("mark", torch.rand(1), persistent=False)
        if site.zero_init and way != "eager":
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def forward(self, x, layout):
        mean = x.mean(dim=1, keepdim=True)
        if self.way == "blind":
            mean = 0 * mean
        if self.way == "mixing":
            mean = mean - mean.mean(0)
        if self.way == "forgetful":
            mean = mean + self.mark
        if self.way == "whole":
            x = x[:, layout.joined :].unflatten(1, (self.count, 1)).flatten(1, 2)
            mean = torch.cat([mean.expand(-1, layout.joined, -1), mean.expand_as(x)], dim=1)
            return self.linear(mean)
        if self.way == "turning" and layout.rotation is not None:
            x = x * layout.rotation[0].mean()
        if self.way == "leaving":
            layout.leave("means", mean.expand_as(x))
        return self.linear(x - mean) if self.way != "short" else self.linear(mean)


class RightMixer(Mixer):
    """A mixer without a fault."""

    name = "right_mixer"
    reads: ClassVar = frozenset()
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def build(self, site):
        return Means(site, self.way)


class Short(RightMixer):
    """One token for all."""

    name = "short_mixer"
    way = "short"
    fails: ClassVar = ("gives_the_shape_of_the_tokens",)


class Blind(RightMixer):
    """Each token by itself."""

    name = "blind_mixer"
    way = "blind"
    fails: ClassVar = ("lets_tokens_see_each_other",)


class Mixing(RightMixer):
    """Images in a batch influence each other."""

    name = "mixing_mixer"
    way = "mixing"
    fails: ClassVar = ("mixes_each_image_alone",)


class Whole(RightMixer):
    """It needs all patches, and does not exclude routing."""

    name = "whole_mixer"
    way = "whole"
    fails: ClassVar = ("works_on_some_of_the_patches",)


class Eager(RightMixer):
    """It adds something at the start, whatever it is told."""

    name = "eager_mixer"
    way = "eager"
    fails: ClassVar = ("adds_nothing_at_the_start_where_that_is_asked",)


class UnusedMixer(RightMixer):
    """A weight that no gradient reaches."""

    name = "unused_mixer"
    way = "unused"
    fails: ClassVar = ("is_reached_by_gradients",)


class ForgetfulMixer(RightMixer):
    """A state that no state dict holds."""

    name = "forgetful_mixer"
    way = "forgetful"
    fails: ClassVar = ("keeps_the_state_of_its_module",)


class Leaving(RightMixer):
    """It leaves something for later blocks, and does not say so."""

    name = "leaving_mixer"
    way = "leaving"
    fails: ClassVar = ("hands_on_what_is_of_each_token",)


class Boasting(RightMixer):
    """It says that it has heads."""

    name = "boasting_mixer"
    reads: ClassVar = frozenset({"heads"})
    fails: ClassVar = ("reads_what_it_says",)


class Quiet(RightMixer):
    """It does not say that it turns."""

    name = "quiet_mixer"
    way = "turning"
    fails: ClassVar = ("reads_what_it_says",)


class Misplaced(Means):
    """What it tells as the matrix of the values is not what makes them."""

    def projections(self):
        others = {name: torch.zeros_like(self.linear.weight) for name in ("query", "key", "value")}
        return {**others, "output": self.linear.weight}


class Misplacing(RightMixer):
    """It tells a matrix of the values that does nothing."""

    name = "misplacing_mixer"
    fails: ClassVar = ("tells_its_projections_where_it_says_so",)

    def provides(self):
        return frozenset({"projections"})

    def build(self, site):
        return Misplaced(site, self.way)


class Two(nn.Module):
    """Two linear layers, and one fault."""

    def __init__(self, width, hidden, way):
        super().__init__()
        self.way = way
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.spare = nn.Parameter(torch.zeros(3)) if way == "unused" else None
        self.register_buffer("mark", torch.rand(1), persistent=False)

    def forward(self, x):
        if self.way == "mixing":
            x = x - x.mean(dim=1, keepdim=True)
        y = self.down(torch.tanh(self.up(x)))
        return y * self.mark if self.way == "forgetful" else y


class RightMlp(Mlp):
    """An MLP without a fault."""

    name = "right_mlp"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def build(self, width, hidden):
        return Two(width, 8 if self.way == "narrow" else hidden, self.way)


class MixingMlp(RightMlp):
    """Tokens see each other."""

    name = "mixing_mlp"
    way = "mixing"
    fails: ClassVar = ("transforms_each_token_by_itself",)


class Narrow(RightMlp):
    """It does not read the hidden width."""

    name = "narrow_mlp"
    way = "narrow"
    fails: ClassVar = ("is_as_wide_as_it_is_told",)


class UnusedMlp(RightMlp):
    """A weight that no gradient reaches."""

    name = "unused_mlp"
    way = "unused"
    fails: ClassVar = ("is_reached_by_gradients",)


class ForgetfulMlp(RightMlp):
    """A state that no state dict holds."""

    name = "forgetful_mlp"
    way = "forgetful"
    fails: ClassVar = ("keeps_the_state_of_its_module",)


class Tanh(nn.Module):
    """Dynamic tanh, and one fault."""

    def __init__(self, width, affine, way):
        super().__init__()
        self.way = way
        self.slope = nn.Parameter(torch.tensor(0.5))
        self.scale = nn.Parameter(torch.ones(width)) if affine or way == "scaled" else None
        self.spare = nn.Parameter(torch.zeros(3)) if way == "unused" else None
        self.register_buffer("mark", torch.rand(1), persistent=False)

    def forward(self, x):
        if self.way == "mixing":
            x = x - x.mean(dim=1, keepdim=True)
        y = self.slope * x if self.way == "linear" else torch.tanh(self.slope * x)
        y = y * self.mark if self.way == "forgetful" else y
        return y if self.scale is None else y * self.scale


class RightNorm(Norm):
    """A norm without a fault."""

    name = "right_norm"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def build(self, width, affine):
        return Tanh(width, affine, self.way)


class MixingNorm(RightNorm):
    """Statistics over the tokens."""

    name = "mixing_norm"
    way = "mixing"
    fails: ClassVar = ("normalises_each_token_by_itself",)


class Unbounded(RightNorm):
    """It multiplies."""

    name = "unbounded_norm"
    way = "linear"
    fails: ClassVar = ("stays_bounded",)


class Scaled(RightNorm):
    """A scale, asked for or not."""

    name = "scaled_norm"
    way = "scaled"
    fails: ClassVar = ("has_a_scale_where_it_is_asked_for",)


class UnusedNorm(RightNorm):
    """A weight that no gradient reaches."""

    name = "unused_norm"
    way = "unused"
    fails: ClassVar = ("is_reached_by_gradients",)


class ForgetfulNorm(RightNorm):
    """A state that no state dict holds."""

    name = "forgetful_norm"
    way = "forgetful"
    fails: ClassVar = ("keeps_the_state_of_its_module",)


class Deaf(Tanh):
    """It is told the noise level, and does not listen."""

    def forward(self, x, noise):
        return super().forward(x)


class DeafNorm(RightNorm):
    """It says that it reads the noise."""

    name = "deaf_norm"
    reads_noise: ClassVar = True
    fails: ClassVar = ("reads_the_noise_where_it_says_so",)

    def build(self, width, affine):
        return Deaf(width, affine, self.way)


class Added(nn.Module):
    """A table is added, and one fault."""

    def __init__(self, count, width, way):
        super().__init__()
        self.way = way
        self.table = nn.Parameter(torch.ones(count, width) if way == "alike" else torch.randn(count, width))

    def forward(self, tokens):
        return (tokens.mean(0) if self.way == "mixing" else tokens) + self.table


class Turned(nn.Module):
    """An angle for each place."""

    def __init__(self, count, size):
        super().__init__()
        self.angles = nn.Parameter(torch.rand(count, size))

    def forward(self):
        return self.angles, self.angles.sin()


class RightPositions(Positions):
    """Positions without a fault."""

    name = "right_positions"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def build(self, rows, columns, width):
        return Added(rows * columns, width, self.way)


class Alike(RightPositions):
    """The same for all places."""

    name = "alike_positions"
    way = "alike"
    fails: ClassVar = ("tells_places_apart",)


class MixingPositions(RightPositions):
    """Images in a batch influence each other."""

    name = "mixing_positions"
    way = "mixing"
    fails: ClassVar = ("adds_to_each_image_alone",)


class Unsaid(RightPositions):
    """It says that it only rotates, and adds vectors."""

    name = "unsaid_positions"
    rotates_only = True
    fails: ClassVar = ("says_whether_it_only_rotates",)


class Stretching(Positions):
    """Angles in the place of cosines."""

    name = "stretching_positions"
    rotates_only = True
    fails: ClassVar = ("turns_by_angles",)

    def refuse_heads(self, head_width):
        return None if head_width % 2 == 0 else "turn pairs of numbers"

    def rotation(self, rows, columns, head_width):
        return Turned(rows * columns, head_width // 2)


class Sum(nn.Module):
    """(x + a·h)/√(1 + a²), and one fault."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.a = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, h):
        h = h.detach() if self.way == "deaf" else h
        total = (x + self.a * h) / torch.sqrt(1 + self.a**2)
        return total[:, :1] if self.way == "short" else total


class RightResidual(Residual):
    """A residual connection without a fault, of a form that the zoo does not have."""

    name = "right_residual"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def scale(self, width, beta):
        return beta if self.way == "secret" else 1.0

    def total(self, width):
        return Sum(self.way)


class ShortResidual(RightResidual):
    """One token for all."""

    name = "short_residual"
    way = "short"
    fails: ClassVar = ("keeps_the_shape",)


class DeafResidual(RightResidual):
    """No gradient to the branch."""

    name = "deaf_residual"
    way = "deaf"
    fails: ClassVar = ("lets_both_ways_through",)


class Secret(RightResidual):
    """It reads β, and does not say so: two candidates that differ have one identity."""

    name = "secret_residual"
    way = "secret"
    fails: ClassVar = ("reads_beta_only_where_it_says_so",)


class Halves(nn.Module):
    """In training half of the patches pass through the blocks, and one fault."""

    def __init__(self, way):
        super().__init__()
        self.way = way

    def hidden_patches(self):
        return self.hidden

    def forward(self, tokens, layout, blocks):
        joined = layout.joined
        self.hidden = None
        if self.way == "skipping":
            blocks = blocks[1:]
        if not self.training:
            if self.way == "swapping":
                tokens = torch.cat([tokens[:, :joined], tokens[:, joined:].flip(1)], dim=1)
            if self.way == "mixing":
                tokens = tokens - tokens.mean(0)
            for block in blocks:
                tokens = block(tokens, layout)
            return tokens
        count = tokens.shape[1] - joined
        if self.way == "careless" and count % 2:
            raise IndexError("an odd number of patches")
        drawn = torch.rand(len(tokens), count, generator=GENERATOR if self.way == "drawing" else None)
        index = drawn.argsort(dim=1)[:, : max(count // 2, 1)]
        self.hidden = torch.ones_like(drawn, dtype=torch.bool).scatter(1, index, False).unflatten(1, layout.grid)
        wide = (index + joined)[..., None].expand(-1, -1, tokens.shape[2])
        some = torch.cat([tokens[:, :joined], tokens.gather(1, wide.to(tokens.device))], dim=1)
        told = Layout(joined, None, layout.rotation) if self.way == "untold" else layout.select(index)
        for block in blocks:
            some = block(some, told)
        return torch.cat([some[:, :joined], tokens[:, joined:].scatter(1, wide - joined, some[:, joined:])], dim=1)


GENERATOR = torch.Generator().manual_seed(1)


class RightRouting(Routing):
    """A routing without a fault."""

    name = "right_routing"
    way: ClassVar[str] = "right"
    fails: ClassVar = ()

    def provides(self):
        return frozenset({"routed_tokens"})

    def build(self, site):
        return Halves(self.way)


class Swapping(RightRouting):
    """Patches come back in another order."""

    name = "swapping_routing"
    way = "swapping"
    fails: ClassVar = ("gives_all_tokens_back",)


class Skipping(RightRouting):
    """The first block is left out."""

    name = "skipping_routing"
    way = "skipping"
    fails: ClassVar = ("asks_every_block_once",)


class Untold(RightRouting):
    """Patches are turned by the angles of others."""

    name = "untold_routing"
    way = "untold"
    fails: ClassVar = ("tells_each_block_what_it_is_given",)


class Silent(RightRouting):
    """It does not say that patches leave."""

    name = "silent_routing"
    fails: ClassVar = ("tells_each_block_what_it_is_given",)

    def provides(self):
        return frozenset()


class Masking(RightRouting):
    """It says that it hides patches, and all of them come back."""

    name = "masking_routing"
    way = "masking"
    fails: ClassVar = ("tells_which_patches_it_hides",)

    def provides(self):
        return super().provides() | {"masked_patches"}


class Drawing(RightRouting):
    """A generator of its own, which no seed reaches."""

    name = "drawing_routing"
    way = "drawing"
    fails: ClassVar = ("is_decided_by_the_seed_alone",)


class MixingRouting(RightRouting):
    """Images in a batch influence each other."""

    name = "mixing_routing"
    way = "mixing"
    fails: ClassVar = ("routes_each_image_alone",)


class Careless(RightRouting):
    """It fails on grids that it does not refuse."""

    name = "careless_routing"
    way = "careless"
    fails: ClassVar = ("works_where_it_does_not_refuse",)
