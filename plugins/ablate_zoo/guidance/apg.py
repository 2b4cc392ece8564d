"""guidance `apg`: adaptive projected guidance, cfg without its oversaturation (Sadat et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import (
    Course,
    Denoised,
    DenoisedGuidance,
    Denoisers,
    Guide,
    Labels,
    Level,
    Range,
    joined,
    moved,
    without,
)
from ablate_zoo.guidance._interval import IntervalGuidance

if TYPE_CHECKING:
    from torch import Tensor


class Apg(IntervalGuidance, DenoisedGuidance):
    """D = D(class) + (scale − 1)·(Δ⊥ + eta·Δ∥), Δ the difference to the null class, split along D(class).

    Sadat et al. 2025, "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models", Alg. 1.
    Before that Δ is summed up over the steps, Δ + momentum·(the sum before), where a negative momentum keeps what is
    new, and is shortened to at most `radius` of the L2 norm over an image. With eta 1, momentum 0 and no radius it is
    `cfg` at the same scale.
    """

    name = "apg"

    scale: Annotated[float, Field(ge=0, le=100), Range(1.0, 15.0)] = 4.0
    eta: Annotated[float, Field(ge=0, le=2)] = 0.0  # of the part along the image, which saturates it
    momentum: Annotated[float, Field(gt=-1, lt=1)] = -0.5
    radius: Annotated[float | None, Field(gt=0, le=1e6)] = None  # of Δ, in numbers in [-1, 1]; None: any
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of training labels that become the null class

    def requires(self) -> Mapping[str, str]:
        """Labels, and a network that knows how it is to have none."""
        return {
            "null_class": "apg compares the image with that for no class, which the backbone must know",
            "conditions": "apg guides towards a class or another condition: the data need labels, or conditions",
        }

    def idle(self, course: Course) -> Iterable[str]:
        """A null class that is never trained."""
        if self.scale != 1 and (self.drop == 0 or (course.images is not None and self.drop * course.images < 1)):
            yield f"scale {self.scale:g} compares with the null class, which drop: {self.drop:g} never trains"

    def drop_rate(self) -> float:
        """`drop`."""
        return self.drop

    def begin(self) -> Guide:
        """With no sum yet."""
        before: Tensor | None = None

        def guide(ask: Denoisers, x: Tensor, labels: Labels, null: int, level: Level) -> Denoised:
            nonlocal before
            import torch

            if labels is None:
                raise ValueError("apg needs labels or conditions to guide towards")
            if not self.guides(level):
                return ask.own(x, labels)
            both = ask.own(torch.cat([x, x]), joined(labels, without(labels, null)))
            size = len(x)
            variance = None if both.variance is None else both.variance[:size]
            given = Denoised(both.x0[:size], both.noise[:size], variance)
            away = given.x0 - both.x0[size:]
            if before is not None and self.momentum:
                away = away + self.momentum * before
            before = away
            return moved(given, given.x0 + (self.scale - 1) * self.projected(away, given.x0), level)

        return guide

    def projected(self, away: Tensor, image: Tensor) -> Tensor:
        """The difference shortened, and its part along the image times eta. (B, C, H, W)."""
        import torch

        over_image = tuple(range(1, image.ndim))
        if self.radius is not None:
            length = torch.linalg.vector_norm(away, dim=over_image, keepdim=True)
            away = away * (self.radius / length.clamp(min=1e-12)).clamp(max=1)
        norm = image.square().sum(over_image, keepdim=True).clamp(min=1e-12)
        along = (away * image).sum(over_image, keepdim=True) / norm * image
        return away + (self.eta - 1) * along

    def describe(self) -> str:
        """Such as `apg(4, eta=0, momentum=-0.5)`."""
        settings = [f"{self.scale:g}", f"eta={self.eta:g}", f"momentum={self.momentum:g}"]
        if self.radius is not None:
            settings.append(f"radius={self.radius:g}")
        return f"apg({', '.join([*settings, *self.interval()])})"
