"""Modules of the transformers: patchify and unpatchify, residual branch, block, head, DiT; and how they are begun."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ablate.api import Carry, Context, Labels, Layout, Modulation, Projects
from ablate_zoo.layers.attention import LookAtCondition, xavier, zero
from ablate_zoo.layers.conditions import with_channels
from ablate_zoo.layers.embedding import LevelAndClass, LevelEmbedding
from ablate_zoo.layers.norms import AdaptiveModulation, gated_sum, modulate, over_tokens, stochastic_depth

NOTHING = Modulation()


class ResidualBranch(nn.Module):
    """Residual branch: x + β·gate·branch(norm(x + bias)·(1 + scale) + shift), pre-norm; or post- or sandwich norm.

    before, after: norms of what the branch reads and of what it gives ("pre" has the first, "sandwich"
    both: Ding et al. 2021, CogView). behind: the norm of the sum ("post": Vaswani et al. 2017), which is
    then what the condition modulates. beta: a number, or a module that scales (..., D). total: a module
    (x, h) -> sum that takes the place of x + h. timed: whether the norms are modules (x, noise) -> x.
    In training, numbers that the branch gives are dropped with probability `dropout` (Vaswani et al. 2017,
    section 5.4), and an image's whole branch with probability `drop_path` (stochastic depth, Huang et al. 2016).
    """

    def __init__(
        self,
        branch: nn.Module,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
        behind: nn.Module | None = None,
        beta: float | nn.Module = 1.0,
        total: nn.Module | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        timed: bool = False,
    ) -> None:
        super().__init__()
        self.timed = timed
        self.before = before
        self.branch = branch
        self.after = after
        self.behind = behind
        self.beta = beta
        self.total = total
        self.dropout = nn.Dropout(dropout)
        self.drop_path = drop_path

    def forward(
        self, x: Tensor, how: Modulation = NOTHING, *layout: Layout | None, noise: Tensor | None = None
    ) -> Tensor:
        """(B, N, D) -> (B, N, D). noise: (B,), for norms that read it."""
        return self.add(x, self.read(x, how, *layout, noise=noise), how, noise)

    def read(self, x: Tensor, how: Modulation, *layout: Layout | None, noise: Tensor | None = None) -> Tensor:
        """Compute the branch's output for x, before it is added. layout: for a branch that is a mixer."""
        told = (noise,) if self.timed else ()
        h = x if how.bias is None else x + over_tokens(how.bias)
        if self.before is not None:
            h = modulate(self.before(h, *told), how.shift, how.scale)
        h = self.branch(h, *layout)
        return self.dropout(h if self.after is None else self.after(h, *told))

    def add(self, x: Tensor, h: Tensor, how: Modulation, noise: Tensor | None = None) -> Tensor:
        """Add the branch's output h to x."""
        if isinstance(self.beta, nn.Module):
            h = self.beta(h)
        elif self.beta != 1.0:
            h = h * self.beta
        if self.training and self.drop_path:
            h = stochastic_depth(h, self.drop_path)
        if self.total is None:
            x = gated_sum(x, how.gate, h)
        else:
            x = self.total(x, h if how.gate is None else over_tokens(how.gate) * h)
        if self.behind is None:
            return x
        return modulate(self.behind(x, noise) if self.timed else self.behind(x), how.shift, how.scale)


class Block(nn.Module):
    """Transformer block: attention and MLP, in sequence or in parallel; the condition enters norms and gates.

    cross: a module (x, context) -> (B, N, D), added to x after attention. parallel: all read the same x
    (Wang & Komatsuzaki 2021, GPT-J; Dehghani et al. 2023, section 2).
    """

    def __init__(
        self,
        attention: ResidualBranch,
        mlp: ResidualBranch,
        modulation: nn.Module | None = None,
        cross: nn.Module | None = None,
        parallel: bool = False,
    ) -> None:
        super().__init__()
        self.modulation = modulation
        self.attention = attention
        self.cross = cross
        self.mlp = mlp
        self.parallel = parallel

    def forward(self, x: Tensor, context: Context, layout: Layout | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D). layout: how the tokens lie, for the mixer."""
        first, second = (NOTHING, NOTHING) if self.modulation is None else self.modulation(context)
        block_input = x
        x = self.attention(x, first, layout, noise=context.noise)
        if self.cross is not None:
            x = x + self.cross(block_input if self.parallel else x, context)
        h = self.mlp.read(block_input if self.parallel else x, second, noise=context.noise)
        return self.mlp.add(x, h, second, context.noise)


class LeftOut(nn.Module):
    """Stands in the place of a block that is left out: what enters it leaves it. The other blocks keep their names."""

    def forward(self, x: Tensor, context: Context, layout: Layout | None = None) -> Tensor:
        """(B, N, D), the same."""
        return x


def branches_of(blocks: Iterable[nn.Module]) -> list[ResidualBranch]:
    """Return attention and MLP of each block that is there."""
    return [branch for block in blocks if isinstance(block, Block) for branch in (block.attention, block.mlp)]


class PatchHead(nn.Module):
    """Output head: norm, modulation (adaLN) and the linear layer from tokens to patches.

    timed: whether the norm is a module (x, noise) -> x.
    """

    def __init__(
        self, norm: nn.Module, width: int, outputs: int, modulation: nn.Module | None = None, timed: bool = False
    ) -> None:
        super().__init__()
        self.timed = timed
        self.norm = norm
        self.modulation = modulation
        self.linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, D) -> (B, N, outputs)."""
        (how,) = (NOTHING,) if self.modulation is None else self.modulation(context)
        x = self.norm(x, context.noise) if self.timed else self.norm(x)
        return self.linear(modulate(x, how.shift, how.scale))


class PatchTokens(nn.Module):
    """Patch embedding (Dosovitskiy et al. 2021): patchify the image, embed each patch, add positions; and unpatchify.

    (B, C, H, W) -> (B, L + N, D), N patches behind L others: registers, learned tokens that store what no patch says
    (Darcet et al. 2024), and tokens of the condition, which sequence(context) -> (B, _, D) makes; None: there are none.
    Patches hold the channels of images that are conditions, too; shape: (C, H, W) of all of them.
    positions(tokens) and rotation() are those of the kind `positions`. outputs: channels of the image that `image` puts
    together again; kept: how many of them it gives, the first ones; None: all.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        patch: int,
        width: int,
        outputs: int,
        positions: nn.Module | None = None,
        rotation: nn.Module | None = None,
        sequence: nn.Module | None = None,
        registers: int = 0,
        kept: int | None = None,
    ) -> None:
        super().__init__()
        channels, height, breadth = shape
        self.patch = patch
        self.outputs = outputs
        self.kept = outputs if kept is None else kept
        self.grid = (height // patch, breadth // patch)
        self.embed = nn.Linear(channels * patch * patch, width)
        self.positions = positions
        self.rotation = rotation
        self.sequence = sequence
        xavier(self.embed)
        self.registers = nn.Parameter(torch.empty(registers, width)) if registers else None
        if self.registers is not None:
            nn.init.trunc_normal_(self.registers, std=0.02)

    def forward(self, x: Tensor, context: Context) -> tuple[Tensor, Layout]:
        """Return the tokens, and how they lie."""
        tokens = self.embed(self.patches(with_channels(x, context)))
        if self.positions is not None:
            tokens = self.positions(tokens)
        front = [] if self.registers is None else [self.registers.expand(len(x), -1, -1)]
        front += [] if self.sequence is None else [self.sequence(context)]
        if not front:
            return tokens, Layout(0, self.grid, self._rotation(0))
        joined = sum(part.shape[1] for part in front)
        tokens = torch.cat([*(part.to(tokens.dtype) for part in front), tokens], dim=1)
        return tokens, Layout(joined, self.grid, self._rotation(joined))

    def _rotation(self, joined: int) -> tuple[Tensor, Tensor] | None:
        """Cos and sin of each token's angles; those that have joined are not turned."""
        if self.rotation is None:
            return None
        cos, sin = self.rotation()
        if not joined:
            return cos, sin
        still = (joined, cos.shape[1])
        return torch.cat([cos.new_ones(still), cos]), torch.cat([sin.new_zeros(still), sin])

    def patches(self, x: Tensor) -> Tensor:
        """Patchify: (B, C, H, W) -> (B, N, C·p·p)."""
        b, c, _, _ = x.shape
        (rows, columns), p = self.grid, self.patch
        cut = x.view(b, c, rows, p, columns, p).permute(0, 2, 4, 1, 3, 5)
        return cut.reshape(b, rows * columns, c * p * p)

    def image(self, tokens: Tensor) -> Tensor:
        """Unpatchify: (B, N, outputs·p·p) -> (B, kept, H, W)."""
        (rows, columns), p = self.grid, self.patch
        cut = tokens.view(len(tokens), rows, columns, p, p, self.outputs).permute(0, 5, 1, 3, 2, 4)
        return cut.reshape(len(tokens), self.outputs, rows * p, columns * p)[:, : self.kept]


class DiT(nn.Module):
    """Diffusion transformer, DiT (Peebles & Xie 2023): patch embedding, blocks, head, unpatchify.

    What the parts are made of is the caller's choice. routing: a module (tokens, layout, blocks) -> tokens that takes
    the tokens through the blocks; None: all through all.
    """

    def __init__(
        self,
        condition: LevelAndClass,
        tokens: PatchTokens,
        blocks: Sequence[nn.Module],
        head: nn.Module,
        routing: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.condition = condition
        self.tokens = tokens
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.routing = routing

    def forward(self, x: Tensor, noise: Tensor, labels: Labels, second: Tensor | None = None) -> Tensor:
        """Image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, outputs, H, W)."""
        context = self.condition(noise, labels, second)
        tokens, layout = self.tokens(x, context)
        blocks = in_one_pass(self.blocks, context, tokens, layout)
        if self.routing is None:
            for block in blocks:
                tokens = block(tokens, layout)
        else:
            tokens = self.routing(tokens, layout, blocks)
        return self.tokens.image(self.head(tokens[:, layout.joined :], context))


def in_one_pass(
    blocks: Iterable[nn.Module], context: Context, tokens: Tensor, layout: Layout
) -> list[Callable[[Tensor, Layout], Tensor]]:
    """Return blocks as functions of tokens and their layout, for one pass from these tokens on.

    The condition is given, and what mixers leave for later blocks is carried from one to the next.
    """
    carry = Carry(tokens.shape[1] - layout.joined)

    def in_turn(block: nn.Module) -> Callable[[Tensor, Layout], Tensor]:
        return lambda x, lie: carry.through(lambda seen, told: block(seen, context, told), x, lie)

    return [in_turn(block) for block in blocks]


def begin_as_identity(block: Block) -> None:
    """Begin a block so that what enters it leaves it: gates that are zero stay, else the branches' last layers are.

    Behind a gate at zero a second zero would keep both from ever learning. A norm behind the sum still changes it.
    """
    how = block.modulation
    if not (isinstance(how, AdaptiveModulation) and "gate" in how.parts and not how.linear.weight.any()):
        for branch in (block.attention.branch, block.mlp.branch):
            last = getattr(branch, "out", None) or getattr(branch, "down", None)
            if isinstance(last, nn.Linear):
                zero(last)
    if isinstance(block.cross, LookAtCondition):
        zero(block.cross.attention.out)


def init_dit(blocks: Sequence[nn.Module], head: PatchHead, at_zero: bool = True) -> None:
    """Initialise a DiT: Xavier in the blocks' branches, zero in the last layer (or Xavier there too)."""
    for branch in branches_of(blocks):
        xavier(branch)
    xavier(head.linear)
    if at_zero:
        zero(head.linear)


def begin_by_depth(blocks: Iterable[nn.Module], depth: int) -> None:
    """Begin blocks by T-Fixup (Huang et al. 2020, section 3.2), so that neither norms nor warm-up are needed.

    Xavier's weights, those of queries, keys, values and output each as a matrix of its own; then values, outputs and
    the layers of the MLP times 0.67·depth^(-1/4), the paper's rule for encoders. An attention to the condition counts
    as one. Biases are zero. depth: how many blocks the network has. What is no block (embedding, head) stays as it is.
    """
    scale = 0.67 * depth**-0.25
    with torch.no_grad():
        for block in blocks:
            if not isinstance(block, Block):
                continue  # left out
            xavier(block.attention.branch)
            xavier(block.mlp.branch)
            for layer in _linear_layers(block.mlp.branch):
                layer.weight.mul_(scale)
            for module in block.modules():
                if isinstance(module, Projects):
                    matrices = module.projections()
                    for matrix in matrices.values():
                        nn.init.xavier_uniform_(matrix)
                    matrices["value"].mul_(scale)
                    matrices["output"].mul_(scale)


def begin_at_width(
    condition: LevelAndClass,
    embed: nn.Linear,
    blocks: Iterable[nn.Module],
    head: nn.Linear,
    ratio: float,
    constant: bool,
) -> None:
    """Rescale initial weights of the standard parametrization to muP (Yang et al. 2022, table 3; Zheng et al. 2025).

    The variance of hidden weights goes with 1/width and that of the last layer with 1/width²; what reads no features
    (patches, frequencies, classes, positions) begins as at the base width. ratio: the width over the base width.
    constant: the branches of the blocks, `embed` and `head` have begun with one deviation at every width, as those of
    the timestep embedding always do; else with Xavier's. Xavier's is right where both sides are as wide as the network,
    and torch's own layers where the input is.
    """
    with torch.no_grad():
        for layer in _second_layers(condition):
            layer.weight.mul_(ratio**-0.5)
        if constant:
            for block in blocks:
                for layer in _linear_layers(block):
                    layer.weight.mul_(ratio**-0.5)
            head.weight.mul_(1 / ratio)
        else:
            embed.weight.mul_(_xavier_ratio(embed.in_features, embed.out_features, ratio))
            head.weight.mul_(_xavier_ratio(head.out_features, head.in_features, ratio) / ratio)


def _xavier_ratio(fixed: int, width: int, ratio: float) -> float:
    """Return Xavier's deviation at the base width over that of today, of a layer whose other side is fixed."""
    return math.sqrt((fixed + width) / (fixed + width / ratio))


def _second_layers(condition: LevelAndClass) -> Iterator[nn.Linear]:
    for level in (condition.level, condition.way):
        if isinstance(level, LevelEmbedding) and level.second is not None:
            yield level.second


def _linear_layers(module: nn.Module) -> Iterator[nn.Linear]:
    return (layer for layer in module.modules() if isinstance(layer, nn.Linear))
