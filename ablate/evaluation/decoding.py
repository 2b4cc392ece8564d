"""Decoding of latents to pixels: normalisation undone, then the autoencoder's decoder, in fp32."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ablate.kinds.autoencoder import Autoencoder, Decoder
from ablate.kinds.data import Encoding
from ablate.spec.component import InputSpec


def decoder(autoencoder: Autoencoder | None, encoding: Encoding | None, device: torch.device) -> Decoder:
    """Return the function that decodes samples x (B, C, H, W) of the network to images about [-1, 1].

    With an encoding x = (z − shift)·scale, and z is what the autoencoder decodes. The dtype of x is
    left behind: a decoder in half precision overflows.
    """
    if encoding is None:
        return (lambda x: x) if autoencoder is None else _built(autoencoder, device)
    decode = (lambda z: z) if autoencoder is None else _built(autoencoder, device)
    shift, scale = (torch.tensor(values, device=device)[:, None, None] for values in (encoding.shift, encoding.scale))

    def images(x: Tensor) -> Tensor:
        return decode(x.float() / scale + shift)

    return images


def measured_spec(autoencoder: Autoencoder | None, setting: InputSpec) -> InputSpec:
    """Return the input spec of the images that are measured, where the network's is `setting`."""
    return setting if autoencoder is None else autoencoder.pixels(setting)


@lru_cache(maxsize=2)
def _built(autoencoder: Autoencoder, device: torch.device) -> Decoder:
    """Load the decoder, once a process."""
    return autoencoder.build(device)
