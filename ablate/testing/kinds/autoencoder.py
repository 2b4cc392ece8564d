"""Checks of autoencoders: pixels of the size that was told, decided by a latent alone."""

from __future__ import annotations

import re
from functools import lru_cache

import torch
from torch import Tensor

from ablate.errors import InputError
from ablate.kinds.autoencoder import Autoencoder, Decoder
from ablate.spec.component import InputSpec
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.networks import close

CHANNELS = (4, 3, 1, 2, 8, 16, 32)  # of latents, in the order in which they are tried
SIDE = 4


def decodes_to_what_it_says(case: Case) -> None:
    """Images (B, C, H, W) fp32, finite, of the shape that `pixels` tells, without a gradient, also under autocast."""
    part, decode, setting = _decoder(case)
    latents = _latents(setting)
    expected = part.pixels(setting)
    images = decode(latents)
    assert images.shape == (len(latents), *expected.shape), f"{tuple(images.shape[1:])}, pixels() says {expected.shape}"
    assert expected.classes == setting.classes, "pixels() changes the classes"
    assert images.dtype == torch.float32, f"{images.dtype}, not fp32"
    assert images.isfinite().all(), "not finite"
    assert not images.requires_grad, "the images keep a graph: decode without gradients"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(decode(latents), images), "another precision around it changes the images"


def decodes_each_latent_alone(case: Case) -> None:
    """The same latents give the same images, whatever else is in the batch; no latent is changed."""
    _, decode, setting = _decoder(case)
    latents = _latents(setting)
    images = decode(latents)
    assert torch.equal(decode(latents), images), "two decodings, two images"
    assert torch.equal(latents, _latents(setting)), "the latents are changed"
    assert close(torch.cat([decode(one[None]) for one in latents]), images, 1e-4), "the batch changes an image"


def names_what_decides(case: Case) -> None:
    """`identity` is a SHA-256 that does not change."""
    part, _, _ = _decoder(case)
    hashes = {part.identity(), part.identity()}
    whole = all(re.fullmatch(r"[0-9a-f]{64}", one) for one in hashes)
    assert len(hashes) == 1 and whole, f"{hashes} is no SHA-256 in hexadecimal"


def _decoder(case: Case) -> tuple[Autoencoder, Decoder, InputSpec]:
    part = case.component
    assert isinstance(part, Autoencoder)
    settings = [InputSpec((channels, SIDE, SIDE), 3) for channels in CHANNELS]
    fitting = next((setting for setting in settings if part.refuse(setting) is None), None)
    if fitting is None:
        raise NotApplicable(str(part.refuse(settings[0])))
    try:
        return part, _built(part), fitting
    except InputError as error:
        raise NotApplicable(f"not to be had here: {error}") from None


@lru_cache(maxsize=1)
def _built(part: Autoencoder) -> Decoder:
    return part.build(torch.device("cpu"))


def _latents(setting: InputSpec) -> Tensor:
    return torch.randn(3, *setting.shape, generator=torch.Generator().manual_seed(0))


CHECKS: tuple[Check, ...] = (decodes_to_what_it_says, decodes_each_latent_alone, names_what_decides)
