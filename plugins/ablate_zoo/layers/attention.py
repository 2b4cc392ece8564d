"""Attention over sequences of tokens: self-attention, cross-attention, linear attention; and how layers are begun."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Context, Layout, MixerSite
from ablate_zoo.layers.embedding import rotate


class QueryKey(nn.Module):
    """Identity on queries and keys, just before their product is taken: the place where a probe reads them.

    A submodule of this name, `query_key`, is where a probe sees what attends to what: (q, k) of shape
    (B, heads, N, d) and (B, heads, M, d), whose logits are `scale`·q·kᵀ. None stands for 1/√d.
    """

    def __init__(self, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """The same two."""
        return q, k


class DotProduct(nn.Module):
    """Scaled dot-product attention: softmax(QKᵀ/√d)V (Vaswani et al. 2017, eq. 1), by torch's fused kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.query_key = QueryKey()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries (B, heads, N, d), keys and values (B, heads, L, d), mask (B, L) or None -> (B, heads, N, d).

        Keys whose mask is False are not looked at; where none is left, the output is zero.
        """
        q, k = self.query_key(q, k)
        if mask is None:
            return F.scaled_dot_product_attention(q, k, v)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return attended.masked_fill(~mask.any(dim=1)[:, None, None, None], 0.0)


class LinearProduct(nn.Module):
    """Linear attention (Shen et al. 2021, "Efficient Attention"): softmax(Q)·(softmax(K)ᵀV).

    softmax(Q) is over the features, softmax(K) over the tokens: the cost grows with the tokens, not with their square.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries (B, heads, N, d), keys and values (B, heads, L, d) -> (B, heads, N, d)."""
        summary = k.softmax(dim=-2).transpose(-2, -1).to(v.dtype) @ v  # (B, heads, d, d)
        return q.softmax(dim=-1).to(v.dtype) @ summary


class ReLUProduct(nn.Module):
    """Attention with ReLU in the place of softmax, divided by the number of keys L: max(0, QKᵀ/√d)V/L.

    (Wortsman et al. 2023, "Replacing softmax with ReLU in Vision Transformers".)
    """

    def __init__(self) -> None:
        super().__init__()
        self.query_key = QueryKey()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries (B, heads, N, d), keys and values (B, heads, L, d) -> (B, heads, N, d)."""
        q, k = self.query_key(q, k)
        shares = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return (F.relu(shares) * (1 / k.shape[2])).to(v.dtype) @ v


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017): all tokens over all tokens, then a projection.

    norm: a module (q, k) -> (q, k), as in `norms`, or None. product: a module (q, k, v), which
    multiplies them; None: DotProduct. values: a module (v, layout) -> v, or None. shared: keys and values are one
    projection; what norms and turns the keys leaves the values as they are. A hook on the product, or on its
    `query_key`, sees queries and keys normalised and rotated, just before they are multiplied, and costs nothing while
    nobody looks.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        bias: bool = True,
        norm: nn.Module | None = None,
        product: nn.Module | None = None,
        values: nn.Module | None = None,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, (2 if shared else 3) * width, bias=bias)
        self.norm = norm
        self.product = DotProduct() if product is None else product
        self.values = values
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D). layout: its rotation turns queries and keys, see `embedding.rotate`."""
        b, n, d = x.shape
        parts = self.qkv(x).view(b, n, -1, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind()
        q, k, v = parts[0], parts[1], parts[-1]  # (B, heads, N, d)
        if self.norm is not None:
            q, k = self.norm(q, k)
        if layout is not None and layout.rotation is not None:
            q, k = rotate(q, layout.rotation), rotate(k, layout.rotation)
        if self.values is not None and layout is not None:
            v = self.values(v, layout)
        attended = self.product(q.to(v.dtype), k.to(v.dtype), v)
        return self.out(attended.transpose(1, 2).reshape(b, n, d))

    def projections(self) -> dict[str, Tensor]:
        """Its matrices, each (D, D); see `Projects`."""
        parts = self.qkv.weight.split(self.out.in_features)
        return {"query": parts[0], "key": parts[1], "value": parts[-1], "output": self.out.weight}


def self_attention(
    site: MixerSite, product: nn.Module, values: nn.Module | None = None, shared: bool = False
) -> SelfAttention:
    """Build self-attention for a place in the network, whose queries, keys and values `product` multiplies."""
    attention = SelfAttention(site.width, site.heads, site.bias, site.query_key_norm(), product, values, shared)
    if site.zero_init:
        zero(attention.out)
    return attention


class CrossAttention(nn.Module):
    """Multi-head cross-attention of tokens to a condition: Q from x, K and V from the condition's sequence."""

    def __init__(self, width: int, condition: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(condition, 2 * width)
        self.product = DotProduct()
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, condition: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D), (B, L, E), (B, L) bool or None -> (B, N, D); masked-out tokens are not looked at."""
        b, n, d = x.shape
        q = self.query(x).view(b, n, self.heads, d // self.heads).transpose(1, 2)  # (B, heads, N, d)
        k, v = self.key_value(condition).view(b, -1, 2, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        attended = self.product(q, k, v, mask)
        return self.out(attended.transpose(1, 2).reshape(b, n, d))

    def projections(self) -> dict[str, Tensor]:
        """Its matrices, (D, D) or of the condition's width; see `Projects`."""
        key, value = self.key_value.weight.chunk(2)
        return {"query": self.query.weight, "key": key, "value": value, "output": self.out.weight}


class LookAtCondition(nn.Module):
    """Cross-attention of a network's tokens to those of the condition (timestep, class), as a conditioning adds it.

    Without a norm of its own: with one, DiT-XL/2 would take 137.63 Gflops, not the published 137.62. norm: a layer norm
    of x, as in Stable Diffusion's blocks (Rombach et al. 2022).
    """

    def __init__(self, width: int, embedding: int, heads: int, norm: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.attention = CrossAttention(width, embedding, heads)
        xavier(self.attention)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, width): what is added to x."""
        return self.attention(self.norm(x), context.tokens, context.mask)


def xavier(module: nn.Module) -> None:
    """Initialise every linear layer below with Xavier-uniform weights and zero biases, as transformers are begun."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def pass_on(layer: nn.Linear | nn.Conv2d) -> None:
    """Begin a layer, or a 1×1 convolution, as the identity on its first inputs, in place; it has as many, or more."""
    with torch.no_grad():
        layer.weight.copy_(torch.eye(*layer.weight.shape[:2]).view(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.zero_()


def zero(layer: nn.Module) -> nn.Module:
    """Zero-initialise a layer and return it: what its output is added to starts unchanged."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    return layer


def zero_last(module: nn.Module) -> nn.Module:
    """Zero-initialise the last linear layer below, so that a branch adds nothing at first."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if layers:
        zero(layers[-1])
    return module
