"""adapter `none`: all weights are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Adapter

if TYPE_CHECKING:
    from torch import nn


class NoAdapter(Adapter):
    """Full training, or full fine-tuning: every weight is trained."""

    name = "none"
    default = True

    def apply(self, network: nn.Module) -> None:
        """Change nothing."""
