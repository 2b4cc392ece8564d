"""`block_order` of the U-Net: convolution, norm, scale and shift, activation, in the place of norm first."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ablate
from ablate.api import Context, InputSpec
from ablate.errors import SpecError

SETTING = InputSpec((3, 16, 16), 10)
UNET: dict[str, Any] = {
    "type": "unet",
    "width": 16,
    "multipliers": [1, 2],
    "blocks": 1,
    "attention_resolutions": [],
    "block_order": "convolution_first",
}


def network(**fields: Any) -> nn.Module:
    torch.manual_seed(0)
    built: nn.Module = ablate.create("backbone", {**UNET, **fields}).build(SETTING)
    return built


def test_a_block_is_conv_norm_scale_shift_activation_twice() -> None:
    """The order of lucidrains' denoising-diffusion-pytorch, with plain functions."""
    block = network().get_submodule("encoder.2.body").double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    w = dict(block.named_parameters())
    x, e = torch.randn(2, 16, 8, 8, dtype=torch.float64), torch.randn(2, 64, dtype=torch.float64)

    def conv_and_norm(t: torch.Tensor, n: int) -> torch.Tensor:
        t = F.conv2d(t, w[f"conv{n}.weight"], w[f"conv{n}.bias"], padding=1)
        return F.group_norm(t, 8, w[f"norm{n}.weight"], w[f"norm{n}.bias"])

    scale, shift = F.linear(F.silu(e), w["modulation.linear.weight"], w["modulation.linear.bias"]).chunk(2, 1)
    h = F.silu(conv_and_norm(x, 1) * (1 + scale[..., None, None]) + shift[..., None, None])
    expected = F.conv2d(x, w["skip.weight"], w["skip.bias"]) + F.silu(conv_and_norm(h, 2))
    torch.testing.assert_close(block(x, Context(e, e[:, None], e[:, 0])), expected)


@pytest.mark.parametrize("fields", [{}, {"norm": "rms"}, {"norm": "none"}, {"conditioning": "adagn_zero"}], ids=str)
def test_a_branch_adds_nothing_at_first_and_then_learns(fields: dict[str, Any]) -> None:
    made = network(**fields)
    block = made.get_submodule("middle.0.body")
    told = made.get_submodule("condition")(torch.rand(2), torch.tensor([1, 2]), None)
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(block(x, told), x)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        made(torch.randn(2, 3, 16, 16), torch.rand(2), torch.tensor([1, 2])).sub(1).square().mean().backward()
        optimizer.step()
    assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert not torch.allclose(block(x, told.__class__(*(t if t is None else t.detach() for t in told))), x)


def test_costs_the_same_but_for_norms_where_the_channels_change() -> None:
    first, behind = (
        ablate.cost({"backbone": {**UNET, "block_order": order}}, SETTING.shape, 10)
        for order in ("norm_first", "convolution_first")
    )
    # inputs and outputs of the blocks whose channels change: one of the encoder down, one of the decoder up
    assert first.macs == behind.macs
    assert first.params - behind.params == 2 * (16 - 32) + 2 * (32 - 16)
    assert round((first.gflops - behind.gflops) * 1e9) == (16 - 32) * 64 + (32 - 16) * 256


def test_the_last_norm_needs_a_scale_to_begin_at_zero() -> None:
    with pytest.raises(SpecError, match="say norm_affine: true, or zero_init: false"):
        network(norm_affine=False)


def test_norm_first_is_what_was_before() -> None:
    plain = {name: value for name, value in UNET.items() if name != "block_order"}
    named = ablate.create("backbone", {**UNET, "block_order": "norm_first"})
    assert ablate.create("backbone", plain).digest() == named.digest()
