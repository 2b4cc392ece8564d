"""guidance `cfg`: classifier-free guidance, away from the prediction without the class (Ho & Salimans 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Added, Course, Drops, InputSpec, Labels, Level, Predictor, Range, joined, without
from ablate_zoo.guidance._interval import IntervalGuidance

if TYPE_CHECKING:
    from torch import Tensor


class Cfg(IntervalGuidance):
    """Classifier-free guidance: ŷ = y(null) + scale·(y(class) − y(null)) (Ho & Salimans 2022, eq. 6).

    `scale` is 1 + w of the paper: 1 is the plain conditional prediction. It is the same for every
    target, each being linear in ε at a given x. A learned variance is that of the class. With
    `channels` only the first so many are guided. Between `sigma_low` and `sigma_high`, in σ/α, it
    guides, outside it saves the second half of the batch (Kynkäänniemi et al. 2024, "Applying
    Guidance in a Limited Interval"). With `of` it guides by one of several conditions, and the others stay
    (Brooks et al. 2023, InstructPix2Pix, has a scale for each).
    """

    name = "cfg"

    scale: Annotated[float, Field(ge=0, le=100), Range(1.0, 6.0)] = 1.5
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of training labels that become the null class
    channels: Annotated[int | None, Field(ge=1, le=65_536)] = None  # None: all
    of: Annotated[tuple[str, ...] | None, Field(min_length=1, max_length=16), Added(before=None)] = (
        None  # names of the conditions that are dropped and guided towards; none: all of them
    )
    drop_each: Annotated[float, Field(ge=0, lt=1), Added(before=0.0)] = (
        0.0  # share of training images for which each condition is dropped by itself, beside `drop`
    )

    def refuse(self, setting: InputSpec) -> str | None:
        """More guided channels than there are, or conditions that are not there."""
        if self.channels is not None and self.channels > setting.shape[0]:
            return f"cannot guide {self.channels} channels of {setting.shape[0]}; leave 'channels' out to guide all"
        known = {c.name for c in setting.conditions if not c.held} | (set() if setting.classes is None else {"class"})
        unknown = [name for name in self.of or () if name not in known]
        if unknown:
            return f"there is no condition {unknown[0]!r} to guide by; there is {', '.join(sorted(known)) or 'none'}"
        return None

    def requires(self) -> Mapping[str, str]:
        """Labels, and a network that knows how it is to have none."""
        return {
            "null_class": "cfg compares the prediction with that for no class, which the backbone must know",
            "conditions": "cfg guides towards a class or another condition: the data need labels, or conditions",
        }

    def idle(self, course: Course) -> Iterator[str]:
        """A comparison with what was never trained; a null class that is trained and never asked."""
        if self.drop == self.drop_each == 0 and self.scale != 1:
            yield f"scale {self.scale:g} compares with the null class, which drop: 0 never trains; say a drop above 0"
        elif course.images is not None and self.scale != 1 and self._share(course.setting) * course.images < 1:
            yield f"drop: {self.drop:g} of {course.images:,} images never trains the null class, to which it compares"

    def drop_rate(self) -> float:
        """`drop`."""
        return self.drop

    def drops(self) -> Drops:
        """`drop` for those of `of` together, `drop_each` for each alone."""
        return Drops(self.drop, self.drop_each, self.of)

    def _share(self, setting: InputSpec) -> float:
        """Share of the training images for which all that it guides by is dropped."""
        told = sum(not c.held for c in setting.conditions) + (setting.classes is not None)
        return self.drop + (1 - self.drop) * self.drop_each ** (len(self.of) if self.of else max(told, 1))

    def predict(self, predict: Predictor, x: Tensor, labels: Labels, null: int, level: Level) -> Tensor:
        """One call on a batch of twice the size; combined in fp32."""
        import torch

        if labels is None:
            raise ValueError("cfg needs labels or conditions to guide towards")
        if not self.guides(level):
            return predict(x, labels)
        both = predict(torch.cat([x, x]), joined(labels, without(labels, null, self.of)))
        conditional, unconditional = (part.float() for part in both.chunk(2))
        channels = self.channels or x.shape[1]
        guided = unconditional[:, :channels] + self.scale * (conditional[:, :channels] - unconditional[:, :channels])
        return torch.cat([guided, conditional[:, channels:]], dim=1)

    def describe(self) -> str:
        """Such as `cfg(1.5)`, or `cfg(1.5, channels=3, 0.28-2.9)`."""
        settings = [f"{self.scale:g}"]
        if self.channels is not None:
            settings.append(f"channels={self.channels}")
        if self.of is not None:
            settings.append(f"of={'+'.join(self.of)}")
        return f"cfg({', '.join([*settings, *self.interval()])})"
