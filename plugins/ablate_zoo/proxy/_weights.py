"""Weights that are zero before training, drawn as others are: else nothing passes through the layers that have them."""

from __future__ import annotations

import torch
from torch import nn


def fill_zeros(network: nn.Module) -> None:
    """Draw each weight of two dimensions or more that is all zero from N(0, 1/fan_in), as LeCun initialisation does.

    Biases and gains stay as they are.
    """
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim >= 2 and not parameter.any():
                parameter.normal_(0.0, parameter[0].numel() ** -0.5)
