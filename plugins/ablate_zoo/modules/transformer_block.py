"""A block of a transformer: attention and MLP, each a residual branch, and how they are joined."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ablate.api import Context, Modulation
from ablate_zoo.modules.modulation import gated_sum, modulate
from ablate_zoo.modules.positions import Rotation

NOTHING = Modulation()


class Places(NamedTuple):
    """What attention has to know of its tokens."""

    mask: Tensor | None = None  # (B, N) bool, False where a token is padding; None: all count
    rotation: Rotation | None = None  # cos and sin of each token's angles; None: nothing is turned


class Residual(nn.Module):
    """x + β·gate·branch(norm(x + bias)·(1 + scale) + shift), or with the norm elsewhere.

    before, after: norms of what the branch reads and of what it gives ("pre" has the first, "sandwich"
    both: Ding et al. 2021, CogView). behind: the norm of the sum ("post": Vaswani et al. 2017), which is
    then what the condition modulates. beta: a number, or a module that scales (..., D).
    In training, numbers that the branch gives are dropped with probability `dropout` (Vaswani et al. 2017,
    section 5.4), and an image's whole branch with probability `drop_path` (Huang et al. 2016).
    """

    def __init__(
        self,
        branch: nn.Module,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
        behind: nn.Module | None = None,
        beta: float | nn.Module = 1.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.before = before
        self.branch = branch
        self.after = after
        self.behind = behind
        self.beta = beta
        self.dropout = nn.Dropout(dropout)
        self.drop_path = drop_path

    def forward(self, x: Tensor, how: Modulation = NOTHING, *places: Tensor | Rotation | None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return self.add(x, self.read(x, how, *places), how)

    def read(self, x: Tensor, how: Modulation, *places: Tensor | Rotation | None) -> Tensor:
        """What the branch makes of x."""
        h = x if how.bias is None else x + how.bias.unsqueeze(1)
        if self.before is not None:
            h = modulate(self.before(h), how.shift, how.scale)
        h = self.branch(h, *places)
        return self.dropout(h if self.after is None else self.after(h))

    def add(self, x: Tensor, h: Tensor, how: Modulation) -> Tensor:
        """Join what the branch has made, h, to x."""
        if isinstance(self.beta, nn.Module):
            h = self.beta(h)
        elif self.beta != 1.0:
            h = h * self.beta
        if self.training and self.drop_path:
            kept = torch.empty(len(h), 1, 1, dtype=h.dtype, device=h.device).bernoulli_(1 - self.drop_path)
            h = h * kept.div_(1 - self.drop_path)
        x = gated_sum(x, how.gate, h)
        return x if self.behind is None else modulate(self.behind(x), how.shift, how.scale)


class LayerScale(nn.Module):
    """A learned factor a channel (Touvron et al. 2021, "Going deeper with Image Transformers", section 2)."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((width,), start))

    def forward(self, h: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return h * self.factor


class Block(nn.Module):
    """Attention and MLP, one after the other or side by side; a condition enters norms, gates and between them.

    cross: a module (x, context) -> (B, N, D), added to x after attention. parallel: all read the same x
    (Wang & Komatsuzaki 2021, GPT-J; Dehghani et al. 2023, section 2).
    """

    def __init__(
        self,
        attention: Residual,
        mlp: Residual,
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

    def forward(self, x: Tensor, context: Context, places: Places = Places()) -> Tensor:  # noqa: B008 - immutable
        """(B, N, D) -> (B, N, D)."""
        first, second = (NOTHING, NOTHING) if self.modulation is None else self.modulation(context)
        given = x
        x = self.attention(x, first, *places)
        if self.cross is not None:
            x = x + self.cross(given if self.parallel else x, context)
        return self.mlp.add(x, self.mlp.read(given if self.parallel else x, second), second)


class Head(nn.Module):
    """Norm, modulation and the linear layer back to patches."""

    def __init__(self, norm: nn.Module, width: int, outputs: int, modulation: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = norm
        self.modulation = modulation
        self.linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, D) -> (B, N, outputs)."""
        (how,) = (NOTHING,) if self.modulation is None else self.modulation(context)
        return self.linear(modulate(self.norm(x), how.shift, how.scale))
