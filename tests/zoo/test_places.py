"""What each backbone tells a conditioning and a fusion of their place in the network."""

from typing import ClassVar

import pytest
import torch

import ablate
from ablate.api import InputSpec, Site
from ablate_zoo.conditioning.adagn import AdaGN
from ablate_zoo.conditioning.adaln import AdaLN
from ablate_zoo.fusion.concat import Concat

TOLD: list[Site] = []
FUSED: list[Site] = []


class ForTokens(AdaLN):
    name: ClassVar[str] = "told_tokens"

    def modulation(self, site):
        TOLD.append(site)
        return super().modulation(site)


class ForMaps(AdaGN):
    name: ClassVar[str] = "told_maps"

    def modulation(self, site):
        TOLD.append(site)
        return super().modulation(site)


class Fused(Concat):
    name: ClassVar[str] = "told_fusion"

    def build_at(self, channels, skip_channels, site):
        FUSED.append(site)
        return super().build_at(channels, skip_channels, site)


TOKENS = {"patch": 2, "width": 16, "heads": 1}
TINY = {"width": 8, "multipliers": [1, 2], "blocks": 1, "groups": 4, "heads": 2, "attention_resolutions": []}
UNET = [(4, 6), (2, 3), (2, 3), (2, 3), (2, 3), (2, 3), (4, 6), (4, 6)]  # encoder 1 + 1, middle 2, decoder 2 + 2


@pytest.mark.parametrize(
    ("spec", "conditioning", "resolutions", "fused"),
    [
        ({"type": "dit", "depth": 3, **TOKENS}, ForTokens(), [(2, 3)] * 3, []),
        ({"type": "uvit", "depth": 5, **TOKENS}, ForTokens(), [(2, 3)] * 5, [3, 4]),
        ({"type": "unet", "down": "strided_conv", **TINY}, ForMaps(), UNET, [4, 5, 6, 7]),
        ({"type": "unet", "down": "residual", **TINY}, ForMaps(), [(4, 6), (2, 3), *UNET[1:]], [5, 6, 7, 8]),
    ],
    ids=["dit", "uvit", "unet", "unet, residual"],
)
def test_a_site_says_which_block_of_how_many_at_which_resolution(spec, conditioning, resolutions, fused):
    TOLD.clear()
    FUSED.clear()
    made = ablate.create("backbone", spec)
    part = {
        "conditioning": conditioning,
        **({"fusion": Fused.model_construct(**dict(ablate.create("fusion", "concat")))} if fused else {}),
    }
    with torch.device("meta"):
        made.model_copy(update=part).build(InputSpec((1, 4, 6), None))
    assert [site.block for site in TOLD] == list(range(len(resolutions)))
    assert [site.resolution for site in TOLD] == resolutions
    assert [site.block for site in FUSED] == fused
    assert [site.resolution for site in FUSED] == [resolutions[i] for i in fused]
    assert {site.blocks for site in TOLD + FUSED} == {len(resolutions)}
