"""autoencoder `none`: no autoencoder, the network draws pixels."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ablate.api import Autoencoder, Decoder, InputSpec

if TYPE_CHECKING:
    import torch


class NoAutoencoder(Autoencoder):
    """No autoencoder: what the network draws is measured as it is."""

    name = "none"
    default = True

    def pixels(self, setting: InputSpec) -> InputSpec:
        """The same."""
        return setting

    def build(self, device: torch.device) -> Decoder:
        """The identity."""
        return lambda latents: latents

    def identity(self) -> str:
        """Of nothing."""
        return hashlib.sha256(b"").hexdigest()

    def describe(self, quantisation: str) -> str:
        """As if nothing had been said."""
        return quantisation
