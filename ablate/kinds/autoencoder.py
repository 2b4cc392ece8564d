"""autoencoder: from the latents that a network draws back to pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component, InputSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Decoder = Callable[["Tensor"], "Tensor"]


class Autoencoder(Component):
    """A fixed decoder that stands between sampling and measuring; it provides "decoder".

    It is no part of training: with another one, the same checkpoints are measured again.
    """

    kind: ClassVar[str] = "autoencoder"

    @classmethod
    def lacking(cls) -> str | None:
        """Return the command that installs what it needs and this machine has not; None where nothing is missing."""
        return None

    @abstractmethod
    def pixels(self, setting: InputSpec) -> InputSpec:
        """Return the input spec of the images that come of latents of this setting; needs no weights."""

    @abstractmethod
    def build(self, device: torch.device) -> Decoder:
        """Build the decoder: latents z (B, C, H, W) fp32, without shift and scale -> images (B, C', H', W') fp32.

        Raises InputError where the weights are not to be had.
        """

    @abstractmethod
    def identity(self) -> str:
        """Return the SHA-256 of all that decides the pixels: part of the identity of what is measured through it."""

    def describe(self, quantisation: str) -> str:
        """How pixels came about: the decoder, then how its images became uint8. Values that differ in it do not mix."""
        return f"{self.name} {self.identity()[:12]}, {quantisation}"
