"""Classifier-free guidance: away from what the network says without the class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Guidance, Level, Predictor, Range

if TYPE_CHECKING:
    from torch import Tensor


class Cfg(Guidance):
    """ŷ = y(null) + scale·(y(class) − y(null)) (Ho & Salimans 2022, "Classifier-Free Diffusion Guidance", eq. 6).

    `scale` is 1 + w of the paper: 1 is the plain conditional prediction. It is the same for every
    target, each being linear in ε at a given x. A learned variance is that of the class.
    """

    name = "cfg"

    scale: Annotated[float, Field(ge=0, le=100), Range(1.0, 6.0)] = 1.5
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of training labels that become the null class

    def requires(self) -> Mapping[str, str]:
        """Labels, and a network that knows how it is to have none."""
        return {
            "null_class": "cfg compares the prediction with that for no class, which the backbone must know",
            "labels": "cfg guides towards a class, so the data must be labelled",
        }

    def drop_rate(self) -> float:
        """`drop`."""
        return self.drop

    def predict(self, predict: Predictor, x: Tensor, labels: Tensor | None, null: int, level: Level) -> Tensor:
        """One call on a batch of twice the size; combined in fp32."""
        import torch

        if labels is None:
            raise ValueError("cfg needs labels to guide towards")
        both = predict(torch.cat([x, x]), torch.cat([labels, torch.full_like(labels, null)]))
        given, plain = (part.float() for part in both.chunk(2))
        channels = x.shape[1]
        guided = plain[:, :channels] + self.scale * (given[:, :channels] - plain[:, :channels])
        return torch.cat([guided, given[:, channels:]], dim=1)

    def describe(self) -> str:
        """Such as `cfg(1.5)`."""
        return f"cfg({self.scale:g})"
