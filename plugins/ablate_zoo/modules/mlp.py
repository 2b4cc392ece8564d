"""The feed-forward half of a transformer block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ablate_zoo.modules import mlp_cpu


class MLP(nn.Module):
    """Linear, GELU (Hendrycks & Gimpel 2016), linear. approximate: "tanh", as in DiT, or "none"."""

    def __init__(self, width: int, hidden: int, approximate: str = "tanh") -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.approximate = approximate
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        if self.approximate == "tanh" and mlp_cpu.serves(x, self.up.weight):
            return mlp_cpu.gelu_mlp(x, self.up, self.down)
        return self.down(F.gelu(self.up(x), approximate=self.approximate))


class SwiGLU(nn.Module):
    """(SiLU(xW) ⊙ xV)·W₂ (Shazeer 2020, eq. 6), with as many parameters as an MLP of that hidden width.

    Three matrices in the place of two: the hidden width is 2/3 of it, rounded to the nearest that fits.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        inner = max(1, round(hidden * (2 * width + 1) / (3 * width + 2)))
        self.up = nn.Linear(width, 2 * inner)
        self.down = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


def mlp(kind: str, width: int, hidden: int) -> nn.Module:
    """Of that kind: "gelu", "gelu_tanh" (its approximation by tanh) or "swiglu"."""
    if kind == "swiglu":
        return SwiGLU(width, hidden)
    return MLP(width, hidden, {"gelu": "none", "gelu_tanh": "tanh"}[kind])
